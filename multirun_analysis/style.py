"""The look of every figure: fonts, colours, dashes, markers; and files that are the same byte for byte."""

import io
import itertools
import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter

from ltsweep.schema import RANDOM_MASK, REINIT, TICKET

# matplotlib's settings for the screen.
_RC = {
    **sns.axes_style("ticks"),
    **sns.plotting_context("paper"),
    # DejaVu Sans comes with matplotlib, so that the machine's own fonts do not change a figure.
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "pdf.fonttype": 42,
    "svg.hashsalt": "ltsweep",  # names within an SVG are the same each time
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
    "savefig.dpi": 300,
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

# Style -> ending of its files, where no format is asked for.
SUFFIX = {"paper": ".pdf", "screen": ".png"}

# Format of a figure's files -> the style that it is drawn in, where both are asked for.
FORMATS = {"pdf": "paper", "png": "screen", "svg": "paper"}

# Settings of matplotlib that are sizes of type, in points.
_SIZES = (
    *("font.size", "axes.labelsize", "axes.titlesize", "figure.labelsize", "figure.titlesize"),
    *("xtick.labelsize", "ytick.labelsize", "legend.fontsize", "legend.title_fontsize"),
)

# Red, green and blue, each from 0 to 1.
Color = tuple[float, float, float]

# Dashes as matplotlib takes them: a string, or an offset and lengths.
Dash = Any


@dataclass(frozen=True)
class Style:
    """The look of a figure: one of `SUFFIX`, and what its user's own file (`style_file`) changes of that.

    rc: settings of matplotlib. size: of the type, in points; None for the style's own. note: whether there is small
    print under a figure, or a text in its place. limits: metric, or `remaining`, -> ends of its axis. labels: name ->
    what is written instead.
    """

    name: str = "screen"
    rc: Mapping[str, Any] = field(default_factory=dict)
    size: float | None = None
    note: bool | str = True
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def paper(self) -> bool:
        """Return whether this is the style for a paper."""
        return self.name == "paper"


# The style of a figure where none is asked for.
SCREEN = Style()


def rc(style: Style = SCREEN) -> AbstractContextManager[None]:
    """Return the settings that a figure is drawn and saved under, as a context."""
    settings: dict[Any, Any] = _RC | (_PAPER if style.paper else {})
    if style.size is not None:
        scale = style.size / settings["font.size"]
        settings |= {name: scale * settings[name] for name in _SIZES if name in settings}
    return mpl.rc_context(settings | dict(style.rc))


def colors(names: Sequence[str]) -> list[Color]:
    """Return a colour for each choice: seaborn's colour-blind-safe ones, or steps of a scale for `is_scale`.

    A panel has few choices; more than eight have steps of a scale too.
    """
    if is_scale(names) or len(names) > len(_MARKERS):
        return scale(len(names))
    return list(sns.color_palette("colorblind", len(names)))


def looks(names: Sequence[str]) -> list[tuple[Color, str]]:
    """Return a colour and a marker for each choice; up to eight differ in both."""
    return list(zip(colors(names), itertools.cycle(_MARKERS), strict=False))


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
    return len(names) > 2 and all(map(is_number, names))


def is_number(name: str) -> bool:
    """Return whether a name is a number as `view.label` writes it."""
    return re.fullmatch(r"-?[\d.]+(e[+-]?\d+)?", name) is not None


def endings(styles: Sequence[str], formats: Sequence[str]) -> dict[str, str]:
    """Return ending -> style of the files of a figure: the styles' own formats unless some are asked for."""
    if not formats or not styles:
        return {SUFFIX[style]: style for style in styles}
    return {f".{name}": FORMATS[name] if FORMATS[name] in styles else styles[0] for name in formats}


def images(pages: Sequence[Figure], style: Style, ending: str) -> list[bytes]:
    """Return the pages of a figure as the contents of files, without a date: one PDF of all, or else one a page.

    Fonts are embedded in a PDF, and an SVG has its text as outlines.
    """
    with rc(style), warnings.catch_warnings():
        # A name in letters that the font lacks, or longer than the figure is wide.
        for said in ("Glyph .* missing from", "constrained_layout not applied"):
            warnings.filterwarnings("ignore", said)
        for figure in pages:
            _relabel(figure, style.labels)
        if ending == ".pdf":
            buffer = io.BytesIO()
            with PdfPages(buffer, metadata={"CreationDate": None}) as file:
                for figure in pages:
                    file.savefig(figure)
            return [buffer.getvalue()]
        return [_image(figure, ending) for figure in pages]


def _image(figure: Figure, ending: str) -> bytes:
    buffer = io.BytesIO()
    without_date = {"Software" if ending == ".png" else "Date": None}
    width, height = figure.get_size_inches()
    asked = mpl.rcParams["savefig.dpi"]
    dpi = min(
        figure.dpi if asked == "figure" else asked,
        _MOST_ALONG / max(width, height),
        (_MOST_PIXELS / width / height) ** 0.5,
    )
    figure.savefig(buffer, format=ending[1:], metadata=without_date, dpi=dpi)
    return buffer.getvalue()


def _relabel(figure: Figure, labels: Mapping[str, str]) -> None:
    """Replace names in every text of a figure but the small print: whole names, the longest first."""
    if not labels:
        return
    known = "|".join(re.escape(name) for name in sorted(labels, key=len, reverse=True))
    name = re.compile(rf"(?<![\w.])(?:{known})(?![\w]|\.\w)")

    def replaced(text: str) -> str:
        return name.sub(lambda found: labels[found[0]], text)

    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        if isinstance(formatter := axis.get_major_formatter(), FixedFormatter):
            axis.set_major_formatter(FixedFormatter([replaced(text) for text in formatter.seq]))
    for text in figure.findobj(Text):
        if text.get_text() and text.get_text() != figure.get_supxlabel():
            text.set_text(replaced(text.get_text()))
