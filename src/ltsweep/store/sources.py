"""The source code of the functions of your own that a config names: hashed for the record, and kept once a study.

Code of ltsweep, torch and torchvision is known by its versions (`provenance`).
"""

import ast
import functools
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ltsweep.schema import SOURCES
from ltsweep.store import disk

# Packages whose versions are on record.
_KNOWN = ("ltsweep", "torch", "torchvision")
# Folders of installed packages: of these the named module alone is looked at, not what it imports.
_INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def sources(config: Mapping[str, Any]) -> dict[str, str]:
    """Return module -> SHA-256 of its source file, for each module that a resolved config names by a `_target_`.

    Beside these, the modules that they import from their own folder. Modules without a source file are left out, and
    so are those that nothing has imported yet: instantiating the config does.
    """
    return {name: _digest(path, path.stat().st_mtime_ns) for name, path in sorted(_files(config).items())}


def keep(study: Path, config: Mapping[str, Any]) -> None:
    """Copy the sources of a config to `study`/.sources/<SHA-256>.py, each once. Raises CannotWriteError."""
    files = _files(config)
    if files:
        disk.make(study / SOURCES)
    for path in files.values():
        content = path.read_bytes()
        copy = study / SOURCES / f"{hashlib.sha256(content).hexdigest()}.py"
        if not copy.exists():
            disk.write(copy, content)


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return the names of the modules whose code is another than before, as a phrase; empty if all are the same."""
    return ", ".join(name for name in sorted({**before, **now}) if before.get(name) != now.get(name))


def _files(config: Mapping[str, Any]) -> dict[str, Path]:
    """Return module -> source file of all that a config names, with what that imports from its own folder."""
    files: dict[str, Path] = {}
    for target in _targets(config):
        if (name := _module_of(target)) and name.partition(".")[0] not in _KNOWN:
            _collect(name, files)
    return files


def _targets(value: Any) -> Iterator[str]:
    """Yield every `_target_` within a config."""
    if isinstance(value, Mapping):
        if isinstance(target := value.get("_target_"), str):
            yield target
        value = list(value.values())
    if isinstance(value, list | tuple):
        for inner in value:
            yield from _targets(inner)


def _module_of(target: str) -> str | None:
    """Return the module of a dotted name, the longest part of it that is imported."""
    parts = target.split(".")
    names = (".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))
    return next((name for name in names if name in sys.modules), None)


def _collect(name: str, files: dict[str, Path]) -> None:
    """Add a module's source file, and those that it imports from the folder that holds it, to `files`."""
    path = _file(name)
    if path is None or name in files:
        return
    files[name] = path
    if any(path.is_relative_to(folder) for folder in _INSTALLED):
        return
    is_package = path.name == "__init__.py"
    root = path.parents[name.count(".") + is_package]
    for imported in _imports(path, name if is_package else name.rpartition(".")[0]):
        found = _file(imported)
        if found is not None and found.is_relative_to(root):
            _collect(imported, files)


def _file(name: str) -> Path | None:
    """Return the source file of a module, imported or not; None if it has none, or there is no such module."""
    if name in sys.modules:
        found = getattr(sys.modules[name], "__file__", None)
    else:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError, AttributeError):
            return None
        found = spec.origin if spec else None
    path = Path(found).resolve() if found and found.endswith(".py") else None
    return path if path and path.is_file() else None


def _imports(path: Path, package: str) -> Iterator[str]:
    """Yield the dotted names that a file imports, at any place in it; of `from a import b` both a and a.b."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            if module:
                yield module
                yield from (f"{module}.{alias.name}" for alias in node.names)


@functools.lru_cache(maxsize=1_000)
def _digest(path: Path, changed_at: int) -> str:
    return disk.sha256(path)
