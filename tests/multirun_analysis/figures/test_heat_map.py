"""Squares hold the means over seeds at the level nearest to what should remain."""

import dataclasses
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from multirun_analysis.errors import NothingToShow
from multirun_analysis.figures import heat_map as figure_file
from multirun_analysis.load import Study, load
from multirun_analysis.view import View, choose

VIEW = View(col=("lr",), hue=("init",), remaining=(0.5, 0.28))


def test_squares_are_means_at_the_nearest_level(mixed: Study) -> None:
    table = figure_file.table(mixed, VIEW)
    for row in table.to_dict("records"):
        level = {0.5: 3, 0.28: 6}[row["wanted"]]  # 51.3 % and 26.3 % remain
        cells = mixed.levels[
            mixed.levels["init"].eq(row["down"])
            & mixed.levels["lr"].eq(float(row["across"]))
            & mixed.levels["level"].eq(level)
            & mixed.levels["arm"].eq("ticket")
            & mixed.levels["status"].eq("done")
        ]
        assert row["mean"] == pytest.approx(statistics.fmean(cells["final_test_accuracy"]))
        assert row["n"] == len(cells) == 3
    assert len(table) == 2 * 4 * 2


def test_numbers_stand_in_their_squares_and_missing_ones_are_empty(mixed: Study) -> None:
    table = figure_file.table(mixed, VIEW)
    table = table[~(table["down"].eq("xavier_n") & table["across"].eq("0.1"))]
    (figure,) = figure_file.draw(table, VIEW)
    assert [ax.get_title() for ax in figure.axes] == ["51.3 % remaining", "26.3 % remaining"]
    ax = figure.axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("lr", "init")
    down = [text.get_text() for text in ax.get_yticklabels()]
    across = [text.get_text() for text in ax.get_xticklabels()]
    shown = {
        (down[int(text.get_position()[1])], across[int(text.get_position()[0])]): text.get_text() for text in ax.texts
    }
    rows = table[table["wanted"].eq(0.5)].to_dict("records")
    expected = {(row["down"], row["across"]): f"{100 * row['mean']:.2f}" for row in rows}
    assert {place: text for place, text in shown.items() if text} == expected
    assert len(expected) == 7


def test_tickets_of_other_sizes_have_colours_of_their_own(write_cell: Callable[..., str], tmp_path: Path) -> None:
    for n, (init, lr, rate) in enumerate(
        (init, lr, rate) for init in ("xavier_u", "xavier_n") for lr in (0.1, 0.2) for rate in (0.2, 0.5)
    ):
        write_cell(init=init, lr=lr, prune_rate=rate, levels=4, epochs=1, seed=n)
    study = load(tmp_path / "made_up")
    view = dataclasses.replace(choose(study.cells), remaining=(0.42,))
    (figure,) = figure_file.draw(figure_file.table(study, view), view)
    titles = [" ".join(ax.get_title().split()) for ax in figure.axes]
    assert titles == ["41.1 % remaining prune_rate = 0.2 (80 % kept)", "50.1 % remaining prune_rate = 0.5 (50 % kept)"]
    ends = [(ax.collections[0].norm.vmin, ax.collections[0].norm.vmax) for ax in figure.axes]
    assert ends[0] != ends[1]
    assert "Colours compare tickets of one size alone." in " ".join(figure.get_supxlabel().split())


def test_a_choice_without_any_such_level_has_no_panel(write_cell: Callable[..., str], tmp_path: Path) -> None:
    for init, lr, rate in ((init, lr, rate) for init in ("a_u", "b_u") for lr in (0.1, 0.2) for rate in (0.2, 0.5)):
        write_cell(init=init, lr=lr, prune_rate=rate, levels=2, epochs=1)
    study = load(tmp_path / "made_up")
    view = choose(study.cells)
    (figure,) = figure_file.draw(figure_file.table(study, view), view)
    assert [len([text for text in ax.texts if text.get_text()]) for ax in figure.axes] == [4]
    assert "Without prune_rate = 0.2 (80 % kept): no level near 20 %." in " ".join(figure.get_supxlabel().split())
    view = dataclasses.replace(view, remaining=(0.8, 0.25))
    (figure,) = figure_file.draw(figure_file.table(study, view), view)
    titles = [" ".join(ax.get_title().split()) for ax in figure.axes]
    assert "no ticket near 25 % prune_rate = 0.2 (80 % kept)" in titles
    assert not any("–" in title for title in titles)


def test_long_axes_are_cut_into_panels(write_cell: Callable[..., str], tmp_path: Path) -> None:
    for n in range(30):
        for lr in (0.1, 0.2):
            write_cell(init=f"init{n:02d}_n", lr=lr, levels=1, epochs=1)
    study = load(tmp_path / "made_up")
    view = dataclasses.replace(choose(study.cells), remaining=(0.8,))
    (figure,) = figure_file.draw(figure_file.table(study, view), view)
    assert [len(ax.get_yticklabels()) for ax in figure.axes] == [15, 15]


def test_axes_can_be_chosen_and_the_rest_has_panels(write_cell: Callable[..., str], tmp_path: Path) -> None:
    for n, (init, lr, rate) in enumerate(
        (init, lr, rate) for init in ("xavier_u", "xavier_n") for lr in (0.1, 0.2, 0.3) for rate in (0.2, 0.5)
    ):
        write_cell(init=init, lr=lr, prune_rate=rate, levels=3, epochs=1, seed=n)
    study = load(tmp_path / "made_up")
    view = choose(study.cells)
    table = figure_file.table(study, dataclasses.replace(view, remaining=(0.5,)))
    assert (table["across_is"].iloc[0], table["down_is"].iloc[0]) == ("lr", "init")
    assert list(table["panel"].cat.categories) == ["prune_rate = 0.2 (80 % kept)", "prune_rate = 0.5 (50 % kept)"]
    chosen = figure_file.table(study, dataclasses.replace(view, axes=("prune_rate", "lr"), remaining=(0.5,)))
    assert list(chosen["down"].cat.categories) == ["0.1", "0.2", "0.3"]
    assert list(chosen["panel"].cat.categories) == ["init = xavier_n", "init = xavier_u"]


@pytest.mark.parametrize(
    ("grid", "remaining", "says"),
    [
        ([{}], (), "no config value varies but the seed, and a heat map needs two axes"),
        ([{"lr": 0.1}, {"lr": 0.2}], (), "only lr varies, and a heat map needs two axes"),
        (
            [{"lr": lr, "init": init} for lr in (0.1, 0.2) for init in ("xavier_u", "xavier_n")],
            (0.1,),
            "no cell has a level near 10 % of the weights; --remaining names another",
        ),
    ],
)
def test_nothing_to_show_says_what_is_lacking(
    write_cell: Callable[..., str],
    tmp_path: Path,
    grid: list[dict[str, object]],
    remaining: tuple[float, ...],
    says: str,
) -> None:
    for cell in grid:
        write_cell(levels=1, epochs=1, **cell)
    study = load(tmp_path / "made_up")
    with pytest.raises(NothingToShow, match=says):
        figure_file.table(study, dataclasses.replace(choose(study.cells), remaining=remaining))
