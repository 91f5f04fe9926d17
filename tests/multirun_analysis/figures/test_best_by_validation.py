"""The test accuracy shown is that of the evaluation with the greatest validation accuracy."""

import statistics

import pytest

from multirun_analysis.figures import best_by_validation as figure_file
from multirun_analysis.load import Study
from multirun_analysis.view import View


def test_validation_chooses_and_test_is_shown(mixed: Study) -> None:
    view = View(col=("lr",), hue=("init",))
    (figure,) = figure_file.draw(figure_file.table(mixed, view), view)
    line = next(line for line in figure.axes[0].lines if line.get_label() == "kaiming_u|ticket")
    rows = mixed.evaluations.query("init == 'kaiming_u' and lr < 0.01 and arm == 'ticket'")
    best = rows.loc[rows.groupby(["key", "level"], observed=True)["val_accuracy"].idxmax()]
    expected = [statistics.fmean(best.loc[best["level"].eq(level), "test_accuracy"]) for level in range(7)]
    assert line.get_ydata().tolist() == pytest.approx(expected)
