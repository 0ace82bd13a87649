"""The start of the shim: Python's `site` runs this file in every program that sockact wraps.

It must never print, fail, or change what the program sees: it removes itself from `sys.path`, and
imports the `sitecustomize` that it shadows. Nothing newer than Python 2.7 here, because a wrapped
program may start an older Python, which inherits PYTHONPATH.
"""

import os
import sys

_home = os.path.dirname(os.path.abspath(__file__))

if os.environ.get("SOCKACT_SHIM") and sys.version_info >= (3, 8):
    try:
        import sockact_shim  # type: ignore[import-not-found]

        if sockact_shim.install(os.environ) and os.environ.get("SOCKACT_ADOPT") == "1":
            from sockact_shim import adopt

            adopt.install(sockact_shim.address(os.environ), os.environ.get("SOCKACT_UNIX", ""))
        if os.environ.get("SOCKACT_LOOKS"):
            from sockact_shim import looks

            looks.install(sockact_shim.address(os.environ), os.environ["SOCKACT_LOOKS"])
    except Exception:  # without the shim the gate may be missing, but the program runs
        sys.modules.pop("sockact_shim", None)

sys.path[:] = [entry for entry in sys.path if entry != _home]

# The shadowed module takes this one's name. If there is none, `site` gets the ImportError that it
# expects, and other exceptions reach `site` as they would without the shim.
sys.modules.pop("sitecustomize", None)
import sitecustomize  # type: ignore[import-not-found]  # noqa: E402, F401
