# Behind nginx, which sends whole requests, Puma need not gather them; and so it finishes those that
# it has just accepted when it is told to end.
queue_requests false
threads 16, 16
