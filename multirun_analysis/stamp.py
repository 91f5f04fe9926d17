"""Which figures and tables of a study are up to date: a stamp beside them says what they were made from."""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from multirun_analysis import disk
from multirun_analysis.load import cell_folders

# Entry of the stamp that holds the closing table of the study's cells, beside one entry a file.
CELLS = "cells"

_NAME = ".figures.json"
_RECORDS = ("config.yaml", "status.json", "evaluations.parquet", "levels.parquet", "tickets/init.safetensors")
_DRAWN_BY = ("matplotlib", "seaborn", "pandas", "numpy", "scipy", "pyarrow", "statsmodels", "plotly", "jinja2")


def fingerprint(studies: Sequence[Path]) -> str:
    """Hash what figures depend on: name, time and size of each record, and this program itself.

    Tickets of later levels are not looked at: none is written without a new status.json after it.
    """
    found = hashlib.sha256()
    for package in _DRAWN_BY:
        found.update(f"{package} {importlib.metadata.version(package)}\n".encode())
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        found.update(source.read_bytes())
    for study in studies:
        for folder in cell_folders(study):
            for record in _RECORDS:
                found.update(f"{folder.name}/{record} {_time_and_size(folder / record)}\n".encode())
    return found.hexdigest()


def read(out: Path) -> dict[str, dict[str, str]]:
    """Read the stamp beside the figures, {file: {"made_from": hash, "says": why there is none}}; empty if none."""
    try:
        found = json.loads((out / _NAME).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_current(out: Path, had: Mapping[str, Mapping[str, str]], file: str, made_from: str) -> bool:
    """Say whether a file was made from these records and options and is still there, or there was nothing to show."""
    entry = had.get(file, {})
    return entry.get("made_from") == made_from and (bool(entry["says"]) or (out / file).exists())


def write(out: Path, stamp: Mapping[str, Mapping[str, str]]) -> None:
    """Write the stamp of a folder of figures, whole or not at all."""
    disk.write(out / _NAME, (json.dumps(stamp, indent=1, sort_keys=True) + "\n").encode())


def _time_and_size(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return "none"
    return f"{found.st_mtime_ns} {found.st_size}"
