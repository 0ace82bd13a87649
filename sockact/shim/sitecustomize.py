"""Python's `site` runs this file at the start of every program that sockact wraps.

It must never print, fail, or change what the program sees: it leaves `sys.path` and hands over to
the `sitecustomize` that it shadows. Nothing newer than Python 2.7 here, because a wrapped program
may start an older Python, which inherits PYTHONPATH.
"""

import os
import sys

_home = os.path.dirname(os.path.abspath(__file__))

if os.environ.get("SOCKACT_SHIM") and sys.version_info >= (3, 8):
    try:
        import sockact_shim  # type: ignore[import-not-found]

        sockact_shim.install(os.environ)
    except Exception:  # a broken shim costs the gate, never the program
        sys.modules.pop("sockact_shim", None)

sys.path[:] = [entry for entry in sys.path if entry != _home]

# The shadowed module takes this one's name. Where there is none, the ImportError is the one that
# `site` expects without us, and whatever it raises reaches `site` as it always did.
sys.modules.pop("sitecustomize", None)
import sitecustomize  # type: ignore[import-not-found]  # noqa: E402, F401
