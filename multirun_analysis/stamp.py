"""Which files of a study's figures are up to date: a stamp beside them says what each was made from, and holds.

A stamp that is not what this program writes counts as none, so that all is made anew.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from ltsweep.errors import BrokenFileError
from ltsweep.schema import CONFIG, INITIAL, STATUS, TABLES
from ltsweep.store import reader
from ltsweep.store.disk import check
from multirun_analysis import disk
from multirun_analysis.load import cell_folders

# Entry of the stamp that holds the closing table of the study's cells, beside one entry a file.
CELLS = "cells"

# Name of the stamp in the folder of a study's figures.
_NAME = ".figures.json"

# Files of a cell that figures are made from. Masks need not be looked at: each is written before a new status.json.
_RECORDS = (CONFIG, STATUS, *TABLES, INITIAL)

# Packages whose version may change the bytes of a file.
_DRAWN_BY = ("matplotlib", "seaborn", "pandas", "numpy", "scipy", "pyarrow", "statsmodels", "plotly", "jinja2")


def fingerprint(studies: Sequence[Path]) -> str:
    """Return a hash of what figures depend on: name, time and size of each record, and this program itself."""
    found = hashlib.sha256()
    for package in _DRAWN_BY:
        found.update(f"{package} {importlib.metadata.version(package)}\n".encode())
    for source in _sources():
        found.update(source.read_bytes())
    for study in studies:
        for folder in cell_folders(study):
            for record in _RECORDS:
                found.update(f"{folder.name}/{record} {_time_and_size(folder / record)}\n".encode())
    return found.hexdigest()


class Made(msgspec.Struct):
    """What the stamp says of a file.

    made_from: a hash. says: why there is no such file, or nothing. left_out: broken files that it does without. pages:
    size, time of change and SHA-256 of what was written; a figure of several pages has several. links: figures that the
    report links to.
    """

    made_from: Annotated[str, Meta(max_length=100)]
    says: Annotated[str, Meta(max_length=1_000_000)] = ""
    left_out: list[Annotated[str, Meta(max_length=2_000)]] = []
    pages: Annotated[list[reader.Noted], Meta(max_length=100)] = []
    links: list[Annotated[str, Meta(max_length=300)]] = []

    def files(self, file: str) -> list[str]:
        """Return the files of the pages: `a.png, a_2.png, a_3.png`."""
        return page_names(file, len(self.pages))


class _Stamp(msgspec.Struct):
    files: dict[Annotated[str, Meta(max_length=300)], Made]
    sha256: str  # of the files' text


def page_names(file: str, count: int) -> list[str]:
    """Return the names of the files of so many pages."""
    path = Path(file)
    return [file if i == 1 else f"{path.stem}_{i}{path.suffix}" for i in range(1, count + 1)]


def read(out: Path) -> dict[str, Made]:
    """Return the stamp, file -> what it says of it; empty where there is none, or not what was written."""
    try:
        found = reader.json_as(out / _NAME, _Stamp, "a stamp")
    except (FileNotFoundError, BrokenFileError):
        return {}
    return found.files if found.sha256 == _digest(found.files) else {}


def is_current(out: Path, had: Mapping[str, Made], file: str, made_from: str) -> bool:
    """Return whether a file was made from `made_from` and is what was written, or there was nothing to show.

    A file whose size and time of change are the noted ones is not read.
    """
    entry = had.get(file)
    if entry is None or entry.made_from != made_from:
        return False
    if not entry.pages:
        return bool(entry.says) and not (out / file).exists()
    try:
        for page, noted in zip(entry.files(file), entry.pages, strict=True):
            check(out / page, noted, thorough=False)
    except (BrokenFileError, OSError):
        return False
    return True


def write(out: Path, stamp: Mapping[str, Made]) -> None:
    """Write the stamp of a folder of figures, whole or not at all."""
    sealed = {"files": msgspec.to_builtins(dict(stamp)), "sha256": _digest(stamp)}
    text = json.dumps(sealed, indent=1, sort_keys=True)
    disk.write(out / _NAME, f"{text}\n".encode())


def _digest(files: Mapping[str, Made]) -> str:
    return hashlib.sha256(json.dumps(msgspec.to_builtins(dict(files)), sort_keys=True).encode()).hexdigest()


def _sources() -> list[Path]:
    """Return the files of this program."""
    return sorted(Path(__file__).parent.rglob("*.py"))


def _time_and_size(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return "none"
    return f"{found.st_mtime_ns} {found.st_size}"
