"""Files of one figure: the same bytes each time, fonts embedded, no date."""

import struct

import pytest
from matplotlib.figure import Figure

from multirun_analysis import style


def image(name: str) -> bytes:
    with style.rc(name):
        figure = Figure()
        figure.subplots().plot([1, 2], [3, 4])
    return style.image(figure, name)


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


def test_colours_are_distinct_and_controls_are_dashed() -> None:
    for names in (list("abc"), [f"{i}, {j}" for i in "abc" for j in "wxyz"], [str(i) for i in range(60)]):
        assert len({tuple(color) for color in style.colors(names)}) == len(names)
    dashes = style.dashes(["ticket", "reinit", "random_mask", "new", "newer"])
    assert dashes["ticket"] == "-"
    assert len(set(dashes.values())) == 5


@pytest.mark.parametrize(
    "names",
    [list("abcdefgh"), [f"init{i}" for i in range(60)], [f"{i}, {j}" for i in "abcd" for j in "stuvwxyz"]],
)
def test_sixty_choices_are_told_apart_by_colour_and_marker(names: list[str]) -> None:
    found = style.looks(names)
    assert len(set(found)) == len(names)
    assert all(marker for _, marker in found)


def test_steps_of_a_scale_go_from_dark_to_light() -> None:
    luminance = [0.2126 * r + 0.7152 * g + 0.0722 * b for (r, g, b), _ in style.looks([str(i) for i in range(12)])]
    assert luminance == sorted(luminance)


@pytest.mark.parametrize("name", ["$\\frac{$", "日本", "x" * 2_000])
def test_any_name_can_be_drawn_and_any_number_of_panels(name: str) -> None:
    with style.rc():
        figure = Figure(figsize=(4, 900 if name[0] == "x" else 3), layout="constrained")
        figure.subplots().set_title(name)
    width, height = struct.unpack(">II", style.image(figure, "screen")[16:24])
    assert max(width, height) < 2**16
