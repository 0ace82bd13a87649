"""The standard library's WSGI server, as its documentation shows it: one request at a time.

python -m tests.servers.apps.wsgiref_server 127.0.0.1 8000
"""

from __future__ import annotations

import sys
from wsgiref.simple_server import make_server

from tests.servers.apps.wsgi import app

if __name__ == "__main__":
    with make_server(sys.argv[1], int(sys.argv[2]), app) as server:
        server.serve_forever()
