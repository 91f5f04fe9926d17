"""Which files of a study's figures are up to date: a stamp beside them has a hash of what each was made from."""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ltsweep.schema import CONFIG, INITIAL, STATUS, TABLES
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


def read(out: Path) -> dict[str, dict[str, str]]:
    """Return the stamp, file -> {"made_from": hash, "says": why there is no such file, "pages": how many}.

    Empty where there is none.
    """
    try:
        found = json.loads((out / _NAME).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_current(out: Path, had: Mapping[str, Mapping[str, str]], file: str, made_from: str) -> bool:
    """Return whether a file was made from `made_from` and all its pages are there, or there was nothing to show."""
    entry = had.get(file, {})
    there = all((out / page).exists() for page in pages(file, entry))
    return entry.get("made_from") == made_from and (bool(entry["says"]) or there)


def pages(file: str, entry: Mapping[str, str]) -> list[str]:
    """Return the files of a figure's pages, by its entry in the stamp: `a.png, a_2.png, a_3.png`."""
    path = Path(file)
    return [file, *(f"{path.stem}_{i}{path.suffix}" for i in range(2, int(entry.get("pages", "1")) + 1))]


def write(out: Path, stamp: Mapping[str, Mapping[str, str]]) -> None:
    """Write the stamp of a folder of figures, whole or not at all."""
    disk.write(out / _NAME, (json.dumps(stamp, indent=1, sort_keys=True) + "\n").encode())


def _sources() -> list[Path]:
    """Return the files of this program."""
    return sorted(Path(__file__).parent.rglob("*.py"))


def _time_and_size(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return "none"
    return f"{found.st_mtime_ns} {found.st_size}"
