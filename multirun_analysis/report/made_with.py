"""The code, packages and hardware that the cells of a study were made with, from each cell's `status.json`."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from multirun_analysis import cell
from multirun_analysis.load import Study

# Versions in status.json that are the program's own; the others are packages'.
_CODE = ("ltsweep", "commit", "code")


class MadeWith(NamedTuple):
    """Texts with the number of cells that each holds for, the most common first; times as the records have them."""

    code: list[tuple[str, int]]
    packages: list[tuple[str, int]]
    own: list[tuple[str, int]]
    hardware: list[tuple[str, int]]
    first: str
    last: str


def read(study: Study) -> MadeWith:
    """Return what the cells that were begun were made with; a cell that cannot be read adds nothing."""
    found = [cell.status(study.path / key) for key in study.cells["key"]]
    begun = [status for status in found if isinstance(status.get("versions"), dict)]
    machines = [status["hardware"] for status in found if isinstance(status.get("hardware"), dict)]
    times = sorted(str(status[name]) for status in found for name in ("started", "updated") if status.get(name))
    return MadeWith(
        code=_counted(_codes([status["versions"] for status in begun])),
        packages=_counted([_packages(status["versions"]) for status in begun]),
        own=_counted([_own(status.get("sources", {})) for status in found]),
        hardware=_counted([_hardware(hardware) for hardware in machines]),
        first=times[0] if times else "",
        last=times[-1] if times else "",
    )


def _counted(said: list[str]) -> list[tuple[str, int]]:
    counts = pd.Series([text for text in said if text], dtype="str").value_counts()
    return sorted(((str(text), int(n)) for text, n in counts.items()), key=lambda pair: (-pair[1], pair[0]))


def _codes(recorded: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the code of each record in words; the same source has the same words, whatever the commit."""
    said: dict[tuple[str | None, str | None], str] = {}
    sources = [(one.get("ltsweep"), one.get("code") or one.get("commit")) for one in recorded]
    for source, one in zip(sources, recorded, strict=True):
        said[source] = min(_code(one), said.get(source, _code(one)))
    return [said[source] for source in sources]


def _code(versions: Mapping[str, str]) -> str:
    names = {"ltsweep": "ltsweep ", "commit": "commit ", "code": "source "}
    return ", ".join(f"{names[name]}{versions[name]}" for name in _CODE if name in versions)


def _packages(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items() if name not in _CODE)


def _own(sources: Mapping[str, str]) -> str:
    return ", ".join(f"{module} {digest[:12]}" for module, digest in sources.items())


def _hardware(hardware: Mapping[str, object]) -> str:
    cores = f"{hardware['cores']} cores {hardware.get('cpu', '')}" if "cores" in hardware else ""
    return ", ".join(str(part) for part in (hardware.get("gpu"), cores, hardware.get("host")) if part)
