"""Training accuracy above, and below what the test set loses of it."""

import dataclasses
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from multirun_analysis.errors import NothingToShow
from multirun_analysis.figures import generalization_gap as figure_file
from multirun_analysis.load import Study, load
from multirun_analysis.view import View, choose


def test_the_gap_is_training_less_test(mixed: Study) -> None:
    view = View(col=("lr",), hue=("init",))
    (figure,) = figure_file.draw(figure_file.table(mixed, view), view)
    assert [ax.get_ylabel() for ax in figure.axes] == ["train accuracy"] * 2 + ["train − test accuracy"] * 2
    rows = mixed.levels.query("init == 'xavier_u' and lr < 0.01 and arm == 'ticket' and level == 4")
    train, test = rows["final_train_accuracy"], rows["final_test_accuracy"]
    for ax, expected in zip(figure.axes[::2], (statistics.fmean(train), statistics.fmean(train - test)), strict=True):
        line = next(line for line in ax.lines if line.get_label() == "xavier_u|ticket")
        assert line.get_ydata()[4] == pytest.approx(expected)


def test_a_study_whose_training_set_was_not_scored_has_no_such_figure(
    write_cell: Callable[..., str], tmp_path: Path
) -> None:
    write_cell(levels=1, epochs=1, evaluate_train=False)
    study = load(tmp_path / "made_up")
    with pytest.raises(NothingToShow) as nothing:
        figure_file.table(study, choose(study.cells))
    assert str(nothing.value) == (
        "train accuracy has no value in these records (evaluate_train=false: the training set was not scored)"
    )


def test_of_cells_with_and_without_scores_of_the_training_set_those_with_are_drawn(
    write_cell: Callable[..., str], tmp_path: Path
) -> None:
    for scored in (True, False):
        write_cell(levels=2, epochs=1, evaluate_train=scored)
    study = load(tmp_path / "made_up")
    view = choose(study.cells)
    assert view.hue == ("evaluate_train",)
    table = figure_file.table(study, view)
    assert set(table["hue"]) == {"True"}
    figure_file.draw(table, view)


def test_a_panel_without_values_says_so_and_squashes_no_other(mixed: Study) -> None:
    """Cells that diverge at once were never scored on the training set."""
    never = mixed.levels["lr"].gt(0.01)
    levels = mixed.levels.assign(final_train_accuracy=mixed.levels["final_train_accuracy"].mask(never))
    view = View(col=("lr",), hue=("init",))
    (figure,) = figure_file.draw(figure_file.table(dataclasses.replace(mixed, levels=levels), view), view)
    above, vacant = figure.axes[:2]
    assert [text.get_text() for text in vacant.texts] == ["no values"]
    assert [text.get_text() for text in above.texts] == []
    assert above.get_ylim()[0] > 0.5
