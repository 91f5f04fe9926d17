"""A score against the width of the network: tickets with a share of the weights, beside the dense networks."""

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from multirun_analysis import style
from multirun_analysis.curves import at_remaining
from multirun_analysis.errors import NothingToShow
from multirun_analysis.figures import accuracy_vs_width as figure_file
from multirun_analysis.load import Study, load
from multirun_analysis.style import Style
from multirun_analysis.view import choose

WIDTHS = (0.25, 1.0, 2.0)


@pytest.fixture
def study(write_cell: Callable[..., str], tmp_path: Path) -> Study:
    for init, width, seed in itertools.product(("he_n", "signed_constant"), WIDTHS, range(2)):
        write_cell(init=init, seed=seed, model__width=width, levels=3, epochs=1)
    return load(tmp_path / "made_up")


def test_means_are_over_seeds_at_the_level_nearest_to_half_of_the_weights(study: Study) -> None:
    view = choose(study.cells)
    table = figure_file.table(study, view)
    near = at_remaining(study.levels, "test_accuracy", 0.5).merge(study.cells[["key", "init", "model.width"]], on="key")
    assert near["level"].eq(3).all()
    for (init, width), rows in near.groupby(["init", "model.width"], observed=True):
        here = table[table["line"].eq(init) & table["width"].eq(float(width))].set_index("network")
        assert here.loc["ticket", "mean"] == pytest.approx(rows["test_accuracy"].mean())
        assert here.loc["ticket", "low"] == pytest.approx(rows["test_accuracy"].min())
        dense = study.levels.query("level == 0")
        dense = dense[dense["key"].isin(rows["key"])]["final_test_accuracy"]
        assert here.loc["dense", "mean"] == pytest.approx(dense.mean())
        assert set(here["n"]) == {2}
    assert len(table) == 2 * len(WIDTHS) * 2


@pytest.mark.parametrize("look", list(style.SUFFIX))
def test_a_panel_for_each_share_a_line_a_choice_and_dotted_dense_networks(study: Study, look: str) -> None:
    view = dataclasses.replace(choose(study.cells), remaining=(0.8, 0.5), style=Style(look))
    (figure,) = figure_file.draw(figure_file.table(study, view), view)
    with style.rc(view.style):
        figure.draw_without_rendering()
    assert [ax.get_title() for ax in figure.axes] == ["80 % remaining", "50 % remaining"]
    for ax in figure.axes:
        assert [line.get_linestyle() for line in ax.lines] == [":", "-"] * 2
        assert all(list(line.get_xdata()) == list(WIDTHS) for line in ax.lines)
        assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0.25", "1", "2"]
    assert [text.get_text() for text in figure.legends[0].get_texts()][-3:] == ["he_n", "signed_constant", "dense"]


def test_networks_of_one_width_have_no_such_figure(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(levels=1, epochs=1, init="he_n")
    write_cell(levels=1, epochs=1, init="he_u")
    study = load(tmp_path / "made_up")
    with pytest.raises(NothingToShow, match=r"^all networks have one width; model\.width=0\.5,1,2 makes a grid"):
        figure_file.table(study, choose(study.cells))


def test_a_share_that_no_ticket_has_is_said(study: Study) -> None:
    view = dataclasses.replace(choose(study.cells), remaining=(0.01,))
    with pytest.raises(
        NothingToShow, match=r"^no cell has a level near 1 % of the weights; --remaining names another$"
    ):
        figure_file.table(study, view)
