"""All figures of studies small and large, in both styles: everything is on its page and can be read."""

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from multirun_analysis import closing, figures, pages, style
from multirun_analysis.errors import NothingToShow
from multirun_analysis.load import Study, load
from multirun_analysis.style import Style
from multirun_analysis.view import View, choose

# Figures whose lines have names in a legend.
LEGENDS = [name for name in figures.names() if name != "heat_map"]


@pytest.fixture(scope="session")
def loaded(case: Path) -> tuple[str, Study, View]:
    """Return each study in turn, with its name and how it is drawn by default."""
    study = load(case)
    view = choose(study.cells, controls=study.levels["arm"].nunique() > 1)
    return case.name, study, dataclasses.replace(view, remaining=(), note=closing.note(study.cells))


@pytest.fixture(scope="session")
def tables(loaded: tuple[str, Study, View]) -> dict[str, pd.DataFrame]:
    """Return figure -> its table, for those that have something to show."""
    _, study, view = loaded
    found = {}
    for name in figures.names():
        try:
            found[name] = figures.get(name).table(study, view)
        except NothingToShow:
            continue
    return found


def drawn(table: pd.DataFrame, name: str, view: View) -> Iterator[Figure]:
    """Yield the first and the last page of a figure, laid out; those between are as the first."""
    found = figures.get(name).draw(table, view)
    for page in (found[0], *found[1:][-1:]):
        with style.rc(view.style):
            page.draw_without_rendering()
        yield page


@pytest.mark.parametrize("look", list(style.SUFFIX))
@pytest.mark.parametrize("name", figures.names())
def test_a_figure_is_whole_and_can_be_read(
    name: str, look: str, loaded: tuple[str, Study, View], tables: dict[str, pd.DataFrame]
) -> None:
    if name not in tables:
        pytest.skip("nothing to show")
    view = dataclasses.replace(loaded[2], style=Style(look))
    for page in drawn(tables[name], name, view):
        assert page.get_figheight() <= (pages.TALLEST_ON_PAPER if look == "paper" else pages.TALLEST)
        assert [text for text in texts(page) if not within(text, page)] == []
        assert overlapping(titles(page)) == []
        if name in LEGENDS:
            assert legend_colors(page) <= line_colors(page)
            taken = [ax.get_tightbbox() for ax in axes(page)] if page.legends else []
            assert not any(box(legend).overlaps(other) for legend in page.legends for other in taken)
        assert all(len(colored(ax)) <= 6 for ax in axes(page))


def axes(page: Figure) -> list:
    return [ax for ax in page.axes if ax.axison]


def texts(page: Figure) -> list[Text]:
    """Return the texts of a page that are drawn; the marks of an axis beyond its ends are not."""
    found = []
    for text in page.findobj(Text):
        if text.get_text() and text.get_visible() and text.get_window_extent().width != 0:
            found.append(text)
    beyond = {id(text) for ax in page.axes for text in hidden_marks(ax)}
    return [text for text in found if id(text) not in beyond]


def hidden_marks(ax) -> Iterator[Text]:
    if not ax.axison:
        yield from ax.findobj(Text)
    for axis in (ax.xaxis, ax.yaxis):
        shown = {id(label) for tick in axis._update_ticks() for label in (tick.label1, tick.label2)}
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            yield from (label for label in (tick.label1, tick.label2) if id(label) not in shown)


def within(text: Text, page: Figure) -> bool:
    extent, slack = text.get_window_extent(), 2.0
    return (
        extent.x0 >= -slack
        and extent.y0 >= -slack
        and extent.x1 <= page.bbox.x1 + slack
        and extent.y1 <= page.bbox.y1 + slack
    )


def titles(page: Figure) -> list[Text]:
    return [ax.title for ax in axes(page) if ax.get_title()]


def overlapping(found: list[Text]) -> list[tuple[str, str]]:
    pairs = itertools.combinations(found, 2)
    return [
        (one.get_text(), other.get_text())
        for one, other in pairs
        if one.get_window_extent().overlaps(other.get_window_extent())
    ]


def box(legend: Legend) -> Bbox:
    return legend.get_window_extent()


def line_colors(page: Figure) -> set[str]:
    return {to_hex(line.get_color()) for ax in axes(page) for line in ax.lines}


def legend_colors(page: Figure) -> set[str]:
    legends = [*page.legends, *(ax.get_legend() for ax in axes(page) if ax.get_legend())]
    handles = [line for legend in legends for line in legend.findobj(Line2D)]
    return {to_hex(line.get_color()) for line in handles if line.get_linestyle() != "None" and line.get_visible()}


def colored(ax) -> set[str]:
    """Return the colours of a panel's lines but for grey ones."""
    found = {to_hex(line.get_color()) for line in ax.lines}
    return {color for color in found if len({color[1:3], color[3:5], color[5:7]}) > 1}
