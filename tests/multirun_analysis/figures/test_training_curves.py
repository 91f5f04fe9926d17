"""Lines against the iteration: a column a choice where there are few, a column a level where many."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from multirun_analysis import style
from multirun_analysis.figures import training_curves as figure_file
from multirun_analysis.load import Study, load
from multirun_analysis.view import View, choose

VIEW = View(col=("lr",), hue=("init",))


def drawn(study: Study, view: View) -> Figure:
    """Draw, and lay out too: some faults show only then."""
    (figure,) = figure_file.draw(figure_file.table(study, view), view)
    with style.rc():
        figure.draw_without_rendering()
    return figure


@pytest.fixture(scope="module")
def mixed_drawn(mixed: Study) -> Figure:
    """The figure of the mixed study: eight choices."""
    return drawn(mixed, VIEW)


def titles(figure: Figure) -> list[str]:
    return [ax.get_title() for ax in figure.axes]


def test_few_choices_have_a_column_each_and_a_line_a_level(mixed: Study) -> None:
    view = View(hue=("init",))
    one = dataclasses.replace(mixed, evaluations=mixed.evaluations.query("lr == 0.1"))
    table = figure_file.table(one, view)
    figure = drawn(one, view)
    inits = ["kaiming_n", "kaiming_u", "xavier_n", "xavier_u"]
    assert titles(figure) == [f"init = {init}" for init in inits] * 2
    assert [ax.get_ylabel() for ax in figure.axes] == ["test accuracy", "", "", "", "loss", "", "", ""]
    names = {0: "100 % (dense)", 2: "64.1 %", 3: "51.3 %", 4: "41.1 %", 6: "26.3 %"}
    for i, init in enumerate(inits):
        lines = {line.get_label(): line for ax in (figure.axes[i], figure.axes[4 + i]) for line in ax.lines}
        for (level, score), rows in table[table["choice"].eq(init)].groupby(["level", "score"]):
            line = lines.pop(f"{names[level]}|{score}")
            assert line.get_xydata().tolist() == rows[["iteration", "mean"]].to_numpy().tolist()
        assert not lines


def test_panels_of_two_scores_beside_each_other_are_both_named(mixed: Study) -> None:
    one = dataclasses.replace(mixed, evaluations=mixed.evaluations.query("lr == 0.1 and init == 'xavier_n'"))
    assert [ax.get_ylabel() for ax in drawn(one, View()).axes] == ["test accuracy", "loss"]


def test_many_choices_share_a_column_a_level(mixed_drawn: Figure) -> None:
    figure = mixed_drawn
    levels = ["100 % (dense)", "64.1 %", "51.3 %", "41.1 %", "26.3 %"]
    assert titles(figure) == [f"lr = {lr}\n{level}" for lr in ("0.0012", "0.1") for _ in range(2) for level in levels]
    assert len([line for line in figure.axes[0].lines if "|test_accuracy" in line.get_label()]) == 4


def test_bands_are_those_of_the_table(mixed: Study, mixed_drawn: Figure) -> None:
    table = figure_file.table(mixed, VIEW).query("level == 0 and score == 'train_loss' and row == '0.0012'")
    bands = {band.get_label(): band for band in mixed_drawn.axes[5].collections}
    for choice, rows in table.groupby("choice", observed=True):
        corners = {tuple(corner) for corner in bands[f"_{choice}|train_loss"].get_paths()[0].vertices}
        assert set(zip(rows["iteration"], rows["low"], strict=True)) <= corners
        assert set(zip(rows["iteration"], rows["high"], strict=True)) <= corners


def test_rows_of_the_view_are_rows_here(write_cell: Callable[..., str], tmp_path: Path) -> None:
    for dataset in ("mnist", "cifar10"):
        write_cell(dataset=dataset, levels=1, epochs=2)
    study = load(tmp_path / "made_up")
    figure = drawn(study, choose(study.cells))
    assert titles(figure) == ["dataset = cifar10"] * 2 + ["dataset = mnist"] * 2


def test_one_evaluation_without_validation_is_a_marked_point(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(validation=0, levels=0, epochs=1)
    study = load(tmp_path / "made_up")
    figure = drawn(study, choose(study.cells))
    assert [[(line.get_label(), line.get_marker()) for line in ax.lines] for ax in figure.axes] == [
        [("100 % (dense)|test_accuracy", "o")],
        [("100 % (dense)|train_loss", "o")],
    ]


def test_an_untrained_network_does_not_stretch_the_axes(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(levels=0, epochs=4)
    study = load(tmp_path / "made_up")
    learning = {"test_accuracy": [0.4, 0.55, 0.7, 0.85], "train_loss": [1.5, 1.2, 0.9, 0.6]}
    learned = study.evaluations.assign(**learning, val_loss=learning["train_loss"])
    untrained = {"iteration": 0, "epoch": 0.0, "test_accuracy": 0.1, "train_loss": 2.3, "val_loss": 2.3}
    rows = pd.concat([learned.iloc[[0]].assign(**untrained), learned], ignore_index=True)
    figure = drawn(dataclasses.replace(study, evaluations=rows), choose(study.cells))
    accuracy, loss = figure.axes
    assert 0.1 < accuracy.get_ylim()[0] < 0.4
    assert 1.5 < loss.get_ylim()[1] < 2.3
    for ax in (accuracy, loss):
        assert {tuple(line.get_xdata()) for line in ax.lines if line.get_label() == "_beyond"} == {(0,)}


def test_levels_are_those_asked_for(mixed: Study) -> None:
    table = figure_file.table(mixed, dataclasses.replace(VIEW, remaining=(0.27, 0.6, 0.66)))
    assert table["level"].unique().tolist() == [2, 6]  # 64.1 % and 26.3 %


def test_levels_that_differ_in_what_remains_go_by_number(write_cell: Callable[..., str], tmp_path: Path) -> None:
    for prune_rate in (0.2, 0.5):
        write_cell(prune_rate=prune_rate, levels=2, epochs=2)
    study = load(tmp_path / "made_up")
    figure = drawn(study, choose(study.cells))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [
        "level",
        "level 0 (dense)",
        "level 1",
        "level 2",
        "training loss",
        "validation loss",
    ]


@pytest.mark.parametrize(
    ("validation", "losses"), [(5000, ["validation loss"]), (0, [])], ids=["validation loss alone", "no loss"]
)
def test_where_the_training_set_was_not_scored_its_loss_is_left_out_and_that_is_said(
    write_cell: Callable[..., str], tmp_path: Path, validation: int, losses: list[str]
) -> None:
    write_cell(levels=1, epochs=3, evaluate_train=False, validation=validation)
    study = load(tmp_path / "made_up")
    figure = drawn(study, choose(study.cells))
    assert len(figure.axes) == 1 + len(losses)
    texts = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert [text for text in texts if text.endswith("loss")] == losses
    assert "The training set was not scored." in " ".join(" ".join(t.get_text().split()) for t in figure.texts)
