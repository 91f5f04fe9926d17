"""With what the cells of a study were made: code, packages, hardware, as each cell's `status.json` says."""

import json
from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from multirun_analysis.load import Study

_CODE = ("ltsweep", "commit", "code")


class MadeWith(NamedTuple):
    """Each a sentence and the number of cells it holds for, the most common first; times as the records write them."""

    code: list[tuple[str, int]]
    packages: list[tuple[str, int]]
    hardware: list[tuple[str, int]]
    first: str
    last: str


def read(study: Study) -> MadeWith:
    """Read what the cells that were begun say; a cell that cannot be read says nothing."""
    found = [_status(study, key) for key in study.cells["key"]]
    begun = [status for status in found if status.get("versions")]
    times = sorted(str(status[name]) for status in found for name in ("started", "updated") if status.get(name))
    return MadeWith(
        code=_counted([_code(status["versions"]) for status in begun]),
        packages=_counted([_packages(status["versions"]) for status in begun]),
        hardware=_counted([_hardware(status.get("hardware")) for status in begun]),
        first=times[0] if times else "",
        last=times[-1] if times else "",
    )


def _status(study: Study, key: str) -> dict[str, object]:
    try:
        found = json.loads((study.path / key / "status.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _counted(said: list[str]) -> list[tuple[str, int]]:
    counts = pd.Series([text for text in said if text], dtype="str").value_counts()
    return sorted(((str(text), int(n)) for text, n in counts.items()), key=lambda pair: (-pair[1], pair[0]))


def _code(versions: object) -> str:
    names = {"ltsweep": "ltsweep ", "commit": "commit ", "code": "source "}
    return ", ".join(f"{names[name]}{versions[name]}" for name in _CODE if name in versions) if _mapping(versions) else ""


def _packages(versions: object) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items() if name not in _CODE) if _mapping(versions) else ""


def _hardware(hardware: object) -> str:
    if not _mapping(hardware):
        return ""
    cores = f"{hardware['cores']} cores {hardware.get('cpu', '')}" if "cores" in hardware else ""
    return ", ".join(str(part) for part in (hardware.get("gpu"), cores, hardware.get("host")) if part)


def _mapping(found: object) -> bool:
    return isinstance(found, Mapping)
