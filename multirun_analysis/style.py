"""The look of every figure: fonts, colours, dashes, markers; and files that are the same byte for byte."""

import io
import re
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from ltsweep.schema import RANDOM_MASK, REINIT, TICKET

# matplotlib's settings for the screen.
_RC = {
    **sns.axes_style("ticks"),
    **sns.plotting_context("paper"),
    # DejaVu Sans comes with matplotlib, so that the machine's own fonts do not change a figure.
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "pdf.fonttype": 42,
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "0.92",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.0,
    "legend.frameon": False,
    "savefig.dpi": 200,
    # A name of the records with dollar signs in it is no formula.
    "text.parse_math": False,
}

# Pixels of the largest image along a side, which is what matplotlib can do, and in all: 400 MB in memory.
_MOST_ALONG, _MOST_PIXELS = 65_000, 1e8

# Settings that differ on paper: the small type of a column.
_PAPER = {
    "font.size": 7.0,
    **dict.fromkeys(("axes.labelsize", "axes.titlesize", "figure.labelsize", "figure.titlesize"), 7.0),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize", "legend.title_fontsize"), 6.5),
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.6),
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.labelpad": 2.0,
    "axes.titlepad": 3.0,
    "grid.linewidth": 0.4,
    "lines.linewidth": 0.9,
    "lines.markersize": 2.8,
}

# Dashes of the shipped arms, and those that any other arms take in turn.
_DASHES = {TICKET: "-", REINIT: (0, (4, 1.5)), RANDOM_MASK: (0, (1.2, 1.2))}
_OTHER_DASHES = ((0, (6, 1.5, 1.2, 1.5)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)))

# Markers in the order in which choices take them; as many choices differ in colour and marker both.
_MARKERS = "os^DvPX*"
_DISTINCT = len(_MARKERS)

# Style -> ending of its files.
SUFFIX = {"paper": ".pdf", "screen": ".png"}

# Red, green and blue, each from 0 to 1.
Color = tuple[float, float, float]

# Dashes as matplotlib takes them: a string, or an offset and lengths.
Dash = Any


def rc(style: str = "screen") -> AbstractContextManager[None]:
    """Return the settings that a figure is drawn and saved under, as a context."""
    return mpl.rc_context(_RC | (_PAPER if style == "paper" else {}))


def colors(names: Sequence[str]) -> list[Color]:
    """Return a colour for each choice: seaborn's colour-blind-safe ones for up to eight, a scale for `is_scale`.

    More than eight choices of two or more columns have a colour for each value of the first column, and
    shades of it; other ones steps along a scale.
    """
    n = len(names)
    if is_scale(names):
        return scale(n)
    if n <= _DISTINCT:
        return list(sns.color_palette("colorblind", n))
    families = _families(names)
    if families is None:
        return scale(n)
    base = dict(zip(families.unique(), sns.color_palette("colorblind"), strict=False))
    size, place = families.map(families.value_counts()), families.groupby(families).cumcount()
    return [
        _shade(base[family], 0.75 * at / (of - 1)) if of > 1 else base[family]
        for family, at, of in zip(families, place, size, strict=True)
    ]


def looks(names: Sequence[str]) -> list[tuple[Color, str]]:
    """Return a colour and a marker for each choice, no two the same for up to 64 choices.

    Up to eight differ in both. More than eight choices without order or family share the eight colours, each with
    another marker; where markers cannot tell more apart there are none.
    """
    n = len(names)
    if n <= _DISTINCT:
        return list(zip(colors(names), _MARKERS, strict=False))
    families = None if is_scale(names) else _families(names)
    if families is not None:  # shades of a family are close to each other, so markers count within it
        places = families.groupby(families).cumcount()
        return [(color, _MARKERS[at % _DISTINCT]) for color, at in zip(colors(names), places, strict=True)]
    if is_scale(names) or n > _DISTINCT**2:
        return [(color, "") for color in colors(names)]
    eight = sns.color_palette("colorblind", _DISTINCT)
    return [(eight[i % _DISTINCT], _MARKERS[(i + i // _DISTINCT) % _DISTINCT]) for i in range(n)]


def scale(n: int) -> list[Color]:
    """Return `n` steps along a scale from dark to light."""
    # The light end of the map is left off: it cannot be seen on white.
    return [mpl.colormaps["viridis"](0.88 * i / max(n - 1, 1))[:3] for i in range(n)]


def dashes(arms: Sequence[str]) -> dict[str, Dash]:
    """Return arm -> dashes: tickets solid, controls dashed, each shipped control the same in every figure."""
    others = iter(_OTHER_DASHES * len(arms))
    return {arm: _DASHES[arm] if arm in _DASHES else next(others) for arm in arms}


def is_scale(names: Sequence[str]) -> bool:
    """Return whether the choices are steps of one scale: three or more, and all of them numbers."""
    return len(names) > 2 and all(re.fullmatch(r"-?[\d.]+(e-?\d+)?", name) for name in names)


def image(figure: Figure, style: str) -> bytes:
    """Return a figure as its file's content in a style: PDF with fonts embedded, or PNG; without a date."""
    buffer = io.BytesIO()
    without_date = {".pdf": {"CreationDate": None}, ".png": {"Software": None}}[SUFFIX[style]]
    width, height = figure.get_size_inches()
    with rc(style), warnings.catch_warnings():
        # A name in letters that DejaVu Sans lacks, or longer than the figure is wide.
        for said in ("Glyph .* missing from", "constrained_layout not applied"):
            warnings.filterwarnings("ignore", said)
        dpi = min(mpl.rcParams["savefig.dpi"], _MOST_ALONG / max(width, height), (_MOST_PIXELS / width / height) ** 0.5)
        figure.savefig(buffer, format=SUFFIX[style][1:], metadata=without_date, dpi=dpi)
    return buffer.getvalue()


def _families(names: Sequence[str]) -> pd.Series | None:
    """Return the first column's value of each choice of several columns; None if too many differ, or all."""
    families = pd.Series([name.partition(", ")[0] for name in names])
    return None if families.nunique() > _DISTINCT or families.nunique() == len(names) else families


def _shade(color: Color, lighter: float) -> Color:
    """Return a colour mixed with black, for the first shades of a family, or with white, for the last."""
    toward, share = (0.0, 0.45 - lighter) if lighter < 0.45 else (1.0, lighter - 0.2)
    red, green, blue = (part * (1 - share) + toward * share for part in color)
    return red, green, blue
