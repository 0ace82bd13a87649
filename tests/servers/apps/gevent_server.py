"""gevent's WSGI server, as its documentation shows it.

python -m tests.servers.apps.gevent_server 127.0.0.1 8000
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402

from gevent.pywsgi import WSGIServer  # noqa: E402

from tests.servers.apps.wsgi import app  # noqa: E402

if __name__ == "__main__":
    WSGIServer((sys.argv[1], int(sys.argv[2])), app, log=None).serve_forever()
