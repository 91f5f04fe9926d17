"""What is on the canvas is what is in the table: lines, bands, crosses, hollow markers and triangles."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from multirun_analysis import closing, style
from multirun_analysis.figures import accuracy_vs_remaining as figure_file
from multirun_analysis.figures import init_densities
from multirun_analysis.load import Study, load
from multirun_analysis.view import View, choose

VIEW = View(col=("lr",), hue=("init",))


def drawn(study: Study, view: View) -> tuple[pd.DataFrame, Figure]:
    """Draw, and lay out too: some faults show only then."""
    table = figure_file.table(study, view)
    (figure,) = figure_file.draw(table, view)
    with style.rc():
        figure.draw_without_rendering()
    return table, figure


@pytest.fixture(scope="module")
def mixed_drawn(mixed: Study) -> tuple[pd.DataFrame, Figure]:
    """The table and the figure of the mixed study: two panels, four choices, two arms."""
    return drawn(mixed, VIEW)


def shown(figure: Figure) -> list[Axes]:
    return [ax for ax in figure.axes if ax.axison]


def labels(ax: Axes, start: str) -> list[str]:
    return [str(line.get_label()) for line in ax.lines if str(line.get_label()).startswith(start)]


def test_lines_and_bands_are_those_of_the_table(mixed_drawn: tuple[pd.DataFrame, Figure]) -> None:
    table, figure = mixed_drawn
    means = table[table["cell"].eq("")]
    assert [ax.get_title() for ax in shown(figure)] == ["lr = 0.0012", "lr = 0.1"]
    for ax, (_, panel) in zip(shown(figure), means.groupby("col", observed=True), strict=True):
        lines = {line.get_label(): line for line in ax.lines}
        bands = {band.get_label(): band for band in ax.collections}
        for (hue, arm), rows in panel.groupby(["hue", "arm"], observed=True):
            line = lines[f"{hue}|{arm}"]
            assert line.get_xydata().tolist() == rows[["remaining", "mean"]].to_numpy().tolist()
            assert (line.get_linestyle() == "-") == (arm == "ticket")
            corners = {tuple(corner) for corner in bands[f"_{hue}|{arm}"].get_paths()[0].vertices}
            assert set(zip(rows["remaining"], rows["low"], strict=True)) <= corners
            assert set(zip(rows["remaining"], rows["high"], strict=True)) <= corners


def test_a_choice_has_one_colour_in_all_arms_and_panels(mixed_drawn: tuple[pd.DataFrame, Figure]) -> None:
    _, figure = mixed_drawn
    colors: dict[str, set[tuple[float, ...]]] = {}
    for ax in shown(figure):
        for label in labels(ax, "kaiming") + labels(ax, "xavier"):
            line = next(line for line in ax.lines if line.get_label() == label)
            colors.setdefault(label.split("|")[0], set()).add(to_rgb(line.get_color()))
    assert [len(found) for found in colors.values()] == [1] * 4
    assert len(set.union(*colors.values())) == 4


def test_the_x_axis_runs_down_from_all_weights(mixed_drawn: tuple[pd.DataFrame, Figure]) -> None:
    _, figure = mixed_drawn
    ax = shown(figure)[0]
    left, right = ax.get_xlim()
    assert ax.get_xscale() == "log"
    assert left > 1.0 > 0.26 > right
    assert [text.get_text() for text in ax.get_xticklabels()] == ["100", "64.1", "41.1", "26.3"]


def test_the_dense_level_of_each_choice_is_dotted(mixed_drawn: tuple[pd.DataFrame, Figure]) -> None:
    table, figure = mixed_drawn
    dense = table[table["level"].eq(0) & table["cell"].eq("") & table["col"].eq("0.1")]
    dotted = [line.get_ydata()[0] for line in shown(figure)[1].lines if line.get_label() == "_dense"]
    assert sorted(dotted) == sorted(dense["mean"])


def test_failed_and_diverged_cells_are_thin_and_end_in_a_cross(mixed_drawn: tuple[pd.DataFrame, Figure]) -> None:
    table, figure = mixed_drawn
    ax = shown(figure)[1]
    thin = [line for line in ax.lines if line.get_label() == "_stopped"]
    crosses = [line for line in ax.lines if line.get_label() == "_stopped_at"]
    alone = table[table["cell"].ne("")].groupby("cell")
    assert sorted(line.get_ydata().tolist() for line in thin) == sorted(rows["mean"].tolist() for _, rows in alone)
    assert sorted(float(cross.get_ydata()[0]) for cross in crosses) == sorted(alone["mean"].last())


def test_means_over_fewer_cells_are_hollow(mixed_drawn: tuple[pd.DataFrame, Figure]) -> None:
    table, figure = mixed_drawn
    hollow = [line for line in shown(figure)[1].lines if line.get_label() == "_fewer"]
    fewer = table[table["n"] < table["cells"]]
    assert fewer["level"].tolist() == [
        2,
        3,
        4,
        5,
        6,
    ]  # a running cell is in the means of levels 0 and 1 alone
    assert [line.get_ydata().tolist() for line in hollow] == [fewer["mean"].tolist()]


def test_the_small_print_says_what_is_not_in_the_means(mixed: Study) -> None:
    _, figure = drawn(mixed, View(hue=("init", "lr"), note=closing.note(mixed.cells)))
    said = " ".join(figure.get_supxlabel().split())
    assert said.startswith("Mean over 3 to 4 seeds, band from the least to the greatest. Hollow: fewer seeds.")
    assert "means lack 1 pending, 1 failed, 1 diverged, 1 unreadable, 1 running" in said


def test_one_seed_has_no_band_and_one_choice_is_coloured_by_arm(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(levels=4, epochs=1, arms={"ticket": 1, "reinit": 3, "random_mask": 3})
    study = load(tmp_path / "made_up")
    _, figure = drawn(study, choose(study.cells, controls=True))
    (ax,) = shown(figure)
    assert len(ax.collections) == 0
    arms = [line for line in ax.lines if line.get_label().startswith("|")]
    assert len({to_rgb(line.get_color()) for line in arms}) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "arm",
        "ticket",
        "random mask",
        "reinit",
        "dense",
    ]


def test_a_dense_study_has_one_point(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(levels=0, epochs=1)
    study = load(tmp_path / "made_up")
    table, figure = drawn(study, choose(study.cells))
    line = next(line for line in shown(figure)[0].lines if line.get_label() == "|ticket")
    assert line.get_xydata().tolist() == [[1.0, table["mean"].item()]]


def test_a_study_whose_cells_all_failed_is_drawn_without_means(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(levels=4, epochs=1, status="diverged", last=2)
    study = load(tmp_path / "made_up")
    _, figure = drawn(study, choose(study.cells))
    assert labels(shown(figure)[0], "_stopped") == ["_stopped", "_stopped_at"]


@pytest.mark.parametrize("bad", [0.098, float("nan")])
def test_a_cell_at_chance_neither_squashes_the_axis_nor_vanishes(mixed: Study, bad: float) -> None:
    levels = mixed.levels.query("status == 'done' and lr < 0.01").copy()
    levels.loc[levels["init"].eq("kaiming_n") & levels["level"].ge(3), "final_test_accuracy"] = bad
    _, figure = drawn(dataclasses.replace(mixed, levels=levels), View(hue=("init",)))
    (ax,) = shown(figure)
    assert ax.get_ylim()[0] > 0.9
    triangles = [line for line in ax.lines if line.get_label() == "_beyond"]
    assert sum(len(line.get_xdata()) for line in triangles) == (0 if np.isnan(bad) else 8)
    assert ("8 points beyond" in " ".join(figure.get_supxlabel().split())) == (not np.isnan(bad))


def test_many_choices_have_panels_of_a_few_each_and_the_others_in_grey(
    write_cell: Callable[..., str], tmp_path: Path
) -> None:
    for n in range(14):
        write_cell(init=f"init{n:02d}_n", levels=2, epochs=1)
    study = load(tmp_path / "made_up")
    _, figure = drawn(study, choose(study.cells))
    assert [ax.get_title() for ax in shown(figure)] == ["1–5 of 14", "6–9 of 14", "10–14 of 14"]
    assert [len(labels(ax, "init")) for ax in shown(figure)] == [5, 4, 5]
    assert [len(labels(ax, "_other")) for ax in shown(figure)] == [9, 10, 9]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[:7] == ["1–5 of 14", *(f"init{n:02d}_n" for n in range(5)), "6–9 of 14"]
    assert names[-2:] == ["dense, median", "other choices"]
    grey = next(line for line in shown(figure)[0].lines if line.get_label() == "_other")
    handle = next(line for line in figure.legends[0].legend_handles if line.get_label() == "other choices")
    assert to_rgb(grey.get_color()) == to_rgb(handle.get_color())


def test_with_controls_fewer_choices_share_a_panel(write_cell: Callable[..., str], tmp_path: Path) -> None:
    for n in range(6):
        write_cell(init=f"init{n}_n", levels=2, epochs=1, arms={"ticket": 1, "reinit": 1})
    study = load(tmp_path / "made_up")
    _, figure = drawn(study, choose(study.cells, controls=True))
    assert [ax.get_title() for ax in shown(figure)] == ["1–3 of 6", "4–6 of 6"]


def test_axes_that_differ_are_said_to(mixed: Study) -> None:
    _, figure = drawn(mixed, VIEW)
    alike = len({ax.get_ylim() for ax in shown(figure)}) == 1
    assert ("The axes of panels differ." in " ".join(figure.get_supxlabel().split())) != alike


def test_data_sets_and_pruning_rates_have_panels_of_their_own(write_cell: Callable[..., str], tmp_path: Path) -> None:
    for dataset in ("mnist", "cifar10"):
        for prune_rate in (0.2, 0.5):
            write_cell(dataset=dataset, prune_rate=prune_rate, levels=3, epochs=1)
    study = load(tmp_path / "made_up")
    _, figure = drawn(study, choose(study.cells))
    assert [" ".join(ax.get_title().split()) for ax in shown(figure)] == [
        f"{dataset}, prune_rate = {rate}"
        for dataset in ("cifar10", "mnist")
        for rate in ("0.2 (80 % kept)", "0.5 (50 % kept)")
    ]
    marks = [[text.get_text() for text in ax.get_xticklabels()] for ax in shown(figure)]
    assert marks == [["100", "80", "64.1", "51.3"], ["100", "50.1", "25.1", "12.6"]] * 2


def test_several_studies_are_in_one_figure(write: Callable[..., str], tmp_path: Path) -> None:
    for name, init in (("a", "xavier_n"), ("b", "xavier_n"), ("b", "kaiming_n")):
        write(tmp_path / name, init=init, levels=2, epochs=1, tickets=True)
    study = load(tmp_path / "a", tmp_path / "b")
    _, figure = drawn(study, choose(study.cells, hue=("study",)))
    lines = [label for label in labels(shown(figure)[0], "") if "|" in label]
    assert lines == ["a, xavier_n|ticket", "b, kaiming_n|ticket", "b, xavier_n|ticket"]
    densities = init_densities.table(study, choose(study.cells))
    assert densities["init"].unique().tolist() == ["kaiming_n", "xavier_n"]
