"""The finder of the package's own modules: what it loads, and what it leaves to importlib."""

from __future__ import annotations

import compileall
import os
import py_compile
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sockact import own_modules
from tests import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with the module `one` and the package `more`, compiled."""
    folder = tmp_path / "sockact"
    (folder / "more").mkdir(parents=True)
    (folder / "one.py").write_text("value = 1\n")
    (folder / "more" / "__init__.py").write_text("value = 2\n")
    compileall.compile_dir(folder, quiet=1)
    return folder


def load(package: Path, name: str) -> dict[str, object] | None:
    """The names of a module that the finder finds."""
    spec = own_modules.OwnModules.find_spec(f"sockact.{name}", [str(package)])
    if spec is None:
        return None
    assert spec.loader
    module = type(sys)(spec.name)
    spec.loader.exec_module(module)
    return vars(module)


def test_a_module_and_a_package(package: Path) -> None:
    assert (load(package, "one") or {})["value"] == 1
    assert (load(package, "more") or {})["value"] == 2
    spec = own_modules.OwnModules.find_spec("sockact.more", [str(package)])
    assert spec is not None
    assert spec.submodule_search_locations == [str(package / "more")]
    assert spec.origin == str(package / "more" / "__init__.py")


def changed(source: Path) -> None:
    """Of the same length, a moment later."""
    source.write_text("value = 3\n")
    os.utime(source, (1, 1))


def longer(source: Path) -> None:
    """At the same time."""
    before = source.stat()
    source.write_text("value = 30\n")
    os.utime(source, (before.st_atime, before.st_mtime))


def by_hash(source: Path) -> None:
    mode = py_compile.PycInvalidationMode.CHECKED_HASH
    py_compile.compile(str(source), invalidation_mode=mode)


def cached(source: Path) -> Path:
    return source.parent / "__pycache__" / f"one.{sys.implementation.cache_tag}.pyc"


def cut(source: Path) -> None:
    cached(source).write_bytes(cached(source).read_bytes()[:10])


def of_another_python(source: Path) -> None:
    data = cached(source).read_bytes()
    cached(source).write_bytes(b"\0\0\r\n" + data[4:])


def without(source: Path) -> None:
    cached(source).unlink()


@pytest.mark.parametrize(
    "change", [changed, longer, by_hash, cut, of_another_python, without, os.unlink]
)
def test_what_importlib_has_to_decide(package: Path, change: Callable[[Path], None]) -> None:
    change(package / "one.py")
    assert load(package, "one") is None


def test_nothing_of_other_packages(package: Path) -> None:
    find = own_modules.OwnModules.find_spec
    assert find("other.one", [str(package)]) is None
    assert find("sockact", None) is None


def test_a_traceback_has_the_lines_of_the_source() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from sockact import own_modules; own_modules.install()\n"
        "from sockact.core import errors, numbers\n"
        "import inspect; print(numbers.__spec__.loader.__class__.__module__)\n"
        "print(inspect.getsource(errors).splitlines()[0]); print(numbers.__file__)"
    )
    compileall.compile_dir(ROOT / "sockact" / "core", quiet=1)
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    first, line, file = done.stdout.splitlines()
    assert first == "sockact.own_modules"
    assert line == (ROOT / "sockact/core/errors.py").read_text().splitlines()[0]
    assert file == str(ROOT / "sockact/core/numbers.py")
