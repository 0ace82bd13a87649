"""Werkzeug's development server, which is also Flask's.

python -m tests.servers.apps.werkzeug_server 127.0.0.1 8000
"""

from __future__ import annotations

import sys

from werkzeug.serving import run_simple

from tests.servers.apps.wsgi import app

if __name__ == "__main__":
    run_simple(sys.argv[1], int(sys.argv[2]), app, threaded=True)
