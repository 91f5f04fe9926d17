"""Panels side by side and on pages: none too tall, none lost, legends and titles where there is room."""

import pytest
from matplotlib.lines import Line2D

from multirun_analysis import pages, panels, style
from multirun_analysis.style import Style

NAMES = ["xavier_u"] * 9


def sheets(rows: int, cols: int, look: str) -> list[pages.Sheet[tuple[int, int]]]:
    keys, wide = pages.side_by_side([[(i, j) for j in range(cols)] for i in range(rows)])
    with style.rc(Style(look)):
        return list(pages.sheets(keys, wide, lambda _: NAMES, Style(look)))


@pytest.mark.parametrize(
    ("rows", "cols", "width"),
    [(1, 1, pages.COLUMN), (1, 3, pages.PAGE), (2, 2, pages.PAGE), (3, 1, pages.PAGE), (6, 5, pages.PAGE)],
)
def test_paper_is_as_wide_as_a_column_or_a_page(rows: int, cols: int, width: float) -> None:
    for sheet in sheets(rows, cols, "paper"):
        assert sheet.figure.get_figwidth() == width


@pytest.mark.parametrize("look", list(style.SUFFIX))
@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (1, 7), (9, 1), (5, 3), (2, 11), (24, 3)])
def test_every_panel_is_on_one_page_and_no_page_is_too_tall(rows: int, cols: int, look: str) -> None:
    found = sheets(rows, cols, look)
    drawn = [key for sheet in found for key in sheet.axes]
    assert sorted(drawn) == [(i, j) for i in range(rows) for j in range(cols)]
    for sheet in found:
        assert sheet.figure.get_figheight() <= (pages.TALLEST_ON_PAPER if look == "paper" else pages.TALLEST)
        assert sum(ax.axison for ax in sheet.figure.axes) == len(sheet.axes)
    says = [sheet.says for sheet in found]
    assert says == ([""] if len(found) == 1 else [f"Page {i + 1} of {len(found)}." for i in range(len(found))])


def test_what_no_page_has_is_counted() -> None:
    found = sheets(100, 3, "screen")
    assert len(found) == 6
    drawn = sum(len(sheet.axes) for sheet in found)
    assert found[0].says == f"Page 1 of 6. {300 - drawn} more panels are not drawn; --where chooses."


def test_rows_that_belong_together_stay_on_a_page() -> None:
    keys = list(range(36))
    with style.rc():
        found = list(pages.sheets(keys, 3, lambda _: [], style.SCREEN, height=2.0, together=2))
    assert [len(sheet.axes) // 3 % 2 for sheet in found] == [0] * len(found)


def test_parts_are_few_and_of_nearly_equal_sizes() -> None:
    names = [str(i) for i in range(60)]
    assert [len(part) for part in pages.parts(names)] == [6] * 10
    assert [len(part) for part in pages.parts(names[:7])] == [4, 3]
    assert [name for part in pages.parts(names[:50]) for name in part] == names[:50]
    assert pages.parts([]) == [[]]
    assert pages.part_name(["a", "b", "c"], [["a", "b", "c"], ["d"]]) == "1–3 of 4"
    assert pages.part_name(["d"], [["a", "b", "c"], ["d"]]) == "4 of 4"


@pytest.mark.parametrize("look", list(style.SUFFIX))
def test_a_long_legend_stays_within_its_figure_and_off_the_panels(look: str) -> None:
    names = [f"initialization_{i}" for i in range(40)]
    with style.rc(Style(look)):
        (sheet,) = pages.sheets(["a", "b"], 2, lambda _: names, Style(look))
        handles = [Line2D([], [], label=name) for name in names]
        panels.legend(sheet.figure, [("init", handles), ("arm", [Line2D([], [], label="ticket")])], Style(look))
        panels.note(sheet.figure, "One seed. " * 20)
        sheet.figure.draw_without_rendering()
    box = sheet.figure.legends[0].get_window_extent()
    assert (box.x0, box.y0) >= (0, 0)
    assert (box.x1, box.y1) <= (sheet.figure.bbox.x1, sheet.figure.bbox.y1)
    assert not any(box.overlaps(ax.get_tightbbox()) for ax in sheet.axes.values())
    assert [text.get_text() for text in sheet.figure.legends[0].get_texts()][-1] == "ticket"


def test_a_value_stays_with_its_name() -> None:
    with style.rc():
        (sheet,) = pages.sheets(["a"], 1, lambda _: [], style.SCREEN, width=2.6)
        pages.entitle(sheet, {"a": "kaiming_n, lr = 0.1, prune_rate = 0.2"})
    assert sheet.axes["a"].get_title() == "kaiming_n, lr = 0.1,\nprune_rate = 0.2"


@pytest.mark.parametrize("look", list(style.SUFFIX))
def test_long_titles_are_broken_and_no_two_meet(look: str) -> None:
    with style.rc(Style(look)):
        (sheet,) = pages.sheets(["a", "b", "c"], 3, lambda _: [], Style(look))
        long = panels.title(["kaiming_normal_of_another_sort", "a_very_long_value_of_something"], [("init",), ("x.y",)])
        pages.entitle(sheet, dict.fromkeys(sheet.axes, long))
        sheet.figure.draw_without_rendering()
    boxes = [ax.title.get_window_extent() for ax in sheet.axes.values()]
    assert boxes[0].x1 < boxes[1].x0
    assert boxes[1].x1 < boxes[2].x0 < boxes[2].x1 <= sheet.figure.bbox.x1
