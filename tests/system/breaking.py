"""What the tests of wraps that are undone share: programs, load, and the files of a machine."""

from __future__ import annotations

from bench.load import Kind, Load

LOAD = Load(Kind.NEW, 4, pause=0.02)
WHOLE = "from tests.servers.apps.wsgi import app\n"
BROKEN = f"import nothere\n{WHOLE}"
TREE = "find /etc /opt /run /srv /var/lib -xdev -not -path '/run/systemd/*'"
