"""A look of the user's own: a YAML file of a few names, or a style file of matplotlib."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.font_manager import get_font_names

from ltsweep.errors import BrokenFileError, did_you_mean
from ltsweep.store import disk, reader
from ltsweep.words import shown
from multirun_analysis.claims.read import METRICS
from multirun_analysis.errors import AnalysisError
from multirun_analysis.style import Style

# Ending of a style file of matplotlib, and the bytes of the largest that is read.
_MPLSTYLE, _MOST = ".mplstyle", 1 << 20

# Sizes of type that are read, in points.
_SMALLEST, _LARGEST = 3.0, 40.0


def read(files: Sequence[Path]) -> Style:
    """Return the style that files of the user's own make, the later ones over the earlier ones.

    Raises AnalysisError, a line with the file, the name and what is allowed, for a file that is none.
    """
    found = Style()
    for path in files:
        try:
            own = _matplotlib(path) if path.suffix == _MPLSTYLE else _yaml(reader.mapping(path))
        except FileNotFoundError:
            raise AnalysisError(f"--style-file {path}: no such file") from None
        except (OSError, UnicodeDecodeError) as error:
            raise AnalysisError(f"--style-file {path}: cannot be read: {shown(str(error))}") from None
        except (BrokenFileError, AnalysisError) as error:
            raise AnalysisError(f"--style-file {path}: {error}") from None
        found = dataclasses.replace(found, **own | {"rc": {**found.rc, **own.get("rc", {})}})
    return found


def _yaml(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of `Style` from those of a YAML file."""
    own: dict[str, Any] = {}
    for name, value in fields.items():
        if name not in _FIELDS:
            there_are = ", ".join(_FIELDS)
            raise AnalysisError(f"no {shown(name, 40)!r}: {did_you_mean(name, _FIELDS)}There are {there_are}")
        own |= _FIELDS[name](value)
    return own


def _font(value: Any) -> dict[str, Any]:
    fonts = get_font_names()
    if value not in fonts:
        near = did_you_mean(str(value), fonts)
        raise AnalysisError(
            f"font: {shown(value, 60)} is no font of this machine; {near or 'such as DejaVu Sans'}".strip()
        )
    return {"rc": {"font.family": [value, "DejaVu Sans"]}}


def _size(value: Any) -> dict[str, Any]:
    if not _number(value) or not _SMALLEST <= value <= _LARGEST:
        allowed = f"a number of points from {_SMALLEST:g} to {_LARGEST:g}"
        raise AnalysisError(f"size: {shown(value, 60)} is not {allowed}")
    return {"size": float(value)}


def _note(value: Any) -> dict[str, Any]:
    if not isinstance(value, bool | str):
        raise AnalysisError(f"note: {shown(value, 60)} is not true, false, or a text in place of the small print")
    return {"note": value}


def _limits(value: Any) -> dict[str, Any]:
    metrics = ("remaining", *METRICS)
    for name, ends in _mapping("limits", value, "metric: [low, high]").items():
        if name not in metrics:
            near = did_you_mean(name, metrics)
            raise AnalysisError(f"limits: no metric {shown(name, 40)!r}: {near}There are {', '.join(metrics)}")
        if not (isinstance(ends, list) and len(ends) == 2 and all(map(_number, ends)) and ends[0] < ends[1]):
            raise AnalysisError(f"limits: {name}: {shown(ends, 60)} is not [low, high], two numbers")
        if name == "remaining" and not 0 < ends[0] < ends[1] <= 2:
            raise AnalysisError(f"limits: {name}: {shown(ends, 60)} are no fractions above 0, such as [0.02, 1]")
    return {"limits": {name: (float(low), float(high)) for name, (low, high) in value.items()}}


def _labels(value: Any) -> dict[str, Any]:
    for name, text in _mapping("labels", value, "name: what is written for it").items():
        if not isinstance(text, str) or not name:
            raise AnalysisError(f"labels: {shown(name, 40)}: {shown(text, 60)} is no text")
    return {"labels": dict(value)}


_FIELDS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "font": _font,
    "size": _size,
    "note": _note,
    "limits": _limits,
    "labels": _labels,
}


def _mapping(field: str, value: Any, of: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise AnalysisError(f"{field}: {shown(value, 60)} is no mapping, {of}")
    return value


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _matplotlib(path: Path) -> dict[str, Any]:
    """Return the settings of a style file of matplotlib, as matplotlib reads them."""
    text = disk.read(path, _MOST).decode()
    names = [found[1] for line in text.splitlines() if (found := re.match(r"\s*([^#:]*[^#:\s])\s*:", line))]
    for name in names:
        if name not in mpl.rcParams:
            near = did_you_mean(name, mpl.rcParams)
            raise AnalysisError(f"no setting {shown(name, 60)!r} of matplotlib{': ' if near else ''}{near.strip()}")
    try:
        return {"rc": dict(mpl.rc_params_from_file(path, fail_on_error=True, use_default_template=False))}
    except (ValueError, KeyError, TypeError) as error:
        raise AnalysisError(f"matplotlib refuses it: {shown(str(error))}") from None
