"""Loads the modules of this package from their bytecode with two system calls each.

importlib asks the system about eight times for each, and computes names meanwhile: of the time that
the supervisor takes to load its modules, which the first answer of a service waits for, that was
two fifths. What has no bytecode, or some of another source or Python, is left to it.
"""

from __future__ import annotations

import marshal
import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER, SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType

_TAG = f".{sys.implementation.cache_tag}.pyc"
_HEAD = 16
"""Bytes before the code: magic number, flags (0: by time), the source's time and size (PEP 552)."""


class _Loader(SourceFileLoader):
    """Has the code at hand until the module is executed: it is not needed any more then."""

    code: CodeType | None

    def get_code(self, fullname: str) -> CodeType | None:
        code, self.code = self.code, None
        return code or super().get_code(fullname)


class OwnModules:
    """A finder for sys.meta_path."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        """Return how to load a module of this package; None if importlib has to find it."""
        if path is None or not name.startswith("sockact."):
            return None
        folder, last = path[0], name.rpartition(".")[2]
        inside = f"{folder}/{last}"
        spec = _spec(name, folder, last)
        if spec is None and (spec := _spec(name, inside, "__init__")) is not None:
            spec.submodule_search_locations = [inside]
        return spec


def _spec(name: str, folder: str, file: str) -> ModuleSpec | None:
    source, cached = f"{folder}/{file}.py", f"{folder}/__pycache__/{file}{_TAG}"
    try:
        with open(cached, "rb", 0) as opened:
            data = opened.read()
        status = os.stat(source)
    except OSError:
        return None
    age = int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF
    head = MAGIC_NUMBER + b"".join(number.to_bytes(4, "little") for number in (0, *age))
    if data[:_HEAD] != head:
        return None
    loader = _Loader(name, source)
    loader.code = marshal.loads(memoryview(data)[_HEAD:])
    spec = ModuleSpec(name, loader, origin=source)
    spec.has_location, spec.cached = True, cached
    return spec


def install() -> None:
    """Find modules of this package here first, from now on."""
    if not sys.flags.optimize:
        sys.meta_path.insert(0, OwnModules)
