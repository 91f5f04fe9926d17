"""Files of one figure: the same bytes each time, fonts embedded, no date."""

import re
import struct
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from multirun_analysis import style


def image(name: str) -> bytes:
    return images(name, style.SUFFIX[name])[0]


def images(name: str, ending: str, pages: int = 1, **own: Any) -> list[bytes]:
    look = style.Style(name, **own)
    with style.rc(look):
        figures = [Figure() for _ in range(pages)]
        for figure in figures:
            ax = figure.subplots()
            ax.plot([1, 2], [3, 4])
            ax.set(title="init = xavier_u", xlabel="init.gain")
    return style.images(figures, look, ending)


def test_paper_is_pdf_with_truetype_fonts_embedded_and_the_same_byte_for_byte() -> None:
    written = image("paper")
    assert written == image("paper")
    assert written.startswith(b"%PDF")
    assert b"/FontFile2" in written  # a TrueType font, whole; /FontFile3 or /Type3 would be none
    assert b"/Type3" not in written
    assert b"CreationDate" not in written


def test_screen_is_png_and_the_same_byte_for_byte() -> None:
    written = image("screen")
    assert written == image("screen")
    assert written.startswith(b"\x89PNG")
    assert b"matplotlib" not in written.lower()


def test_svg_is_the_same_byte_for_byte() -> None:
    (written,) = images("paper", ".svg")
    assert [written] == images("paper", ".svg")
    assert b"<dc:date>" not in written


def test_pages_are_one_pdf_or_a_file_each() -> None:
    (pdf,) = images("paper", ".pdf", pages=3)
    assert len(re.findall(rb"/Type /Page\b", pdf)) == 3
    assert b"CreationDate" not in pdf
    assert len(images("screen", ".png", pages=3)) == 3


def test_names_are_written_as_the_user_says() -> None:
    def texts(labels: dict[str, str]) -> str:
        rc = {"svg.fonttype": "none"}
        return images("screen", ".svg", rc=rc, labels=labels)[0].decode()

    assert "init = xavier_u" in texts({})
    assert "init.gain" in texts({"init": "start"})  # another name that begins alike
    assert "start = Glorot" in texts({"init": "start", "xavier_u": "Glorot"})


def test_type_is_as_large_as_the_user_says() -> None:
    for name in style.SUFFIX:
        with style.rc(style.Style(name)):
            before = mpl.rcParams["font.size"], mpl.rcParams["legend.fontsize"]
        with style.rc(style.Style(name, size=2 * before[0])):
            assert (mpl.rcParams["font.size"], mpl.rcParams["legend.fontsize"]) == tuple(2 * size for size in before)


@pytest.mark.parametrize(
    ("styles", "formats", "expected"),
    [
        (("screen", "paper"), (), {".png": "screen", ".pdf": "paper"}),
        (("screen", "paper"), ("pdf", "svg", "png"), {".pdf": "paper", ".svg": "paper", ".png": "screen"}),
        (("screen",), ("svg", "pdf"), {".svg": "screen", ".pdf": "screen"}),
        (("paper",), ("png",), {".png": "paper"}),
    ],
)
def test_a_format_is_drawn_in_one_style(
    styles: tuple[str, ...], formats: tuple[str, ...], expected: dict[str, str]
) -> None:
    assert style.endings(styles, formats) == expected


def test_colours_are_distinct_and_controls_are_dashed() -> None:
    for names in (list("abc"), [f"{i}, {j}" for i in "abc" for j in "wxyz"], [str(i) for i in range(60)]):
        assert len({tuple(color) for color in style.colors(names)}) == len(names)
    dashes = style.dashes(["ticket", "reinit", "random_mask", "new", "newer"])
    assert dashes["ticket"] == "-"
    assert len(set(dashes.values())) == 5


def test_eight_choices_differ_in_colour_and_marker() -> None:
    found = style.looks(list("abcdefgh"))
    assert len({color for color, _ in found}) == len({marker for _, marker in found}) == 8


def test_steps_of_a_scale_go_from_dark_to_light() -> None:
    luminance = [0.2126 * r + 0.7152 * g + 0.0722 * b for (r, g, b), _ in style.looks([str(i) for i in range(12)])]
    assert luminance == sorted(luminance)


@pytest.mark.parametrize("name", ["$\\frac{$", "日本", "x" * 2_000])
def test_any_name_can_be_drawn_and_any_number_of_panels(name: str) -> None:
    with style.rc():
        figure = Figure(figsize=(4, 900 if name[0] == "x" else 3), layout="constrained")
        figure.subplots().set_title(name)
    width, height = struct.unpack(">II", style.images([figure], style.SCREEN, ".png")[0][16:24])
    assert max(width, height) < 2**16
