"""The line is the mean iteration of least validation loss."""

import statistics

import pytest

from multirun_analysis.figures import early_stop_vs_remaining as figure_file
from multirun_analysis.load import Study
from multirun_analysis.view import View


def test_the_line_is_the_mean_early_stop_iteration(mixed: Study) -> None:
    view = View(col=("lr",), hue=("init",))
    (figure,) = figure_file.draw(figure_file.table(mixed, view), view)
    line = next(line for line in figure.axes[0].lines if line.get_label() == "xavier_n|ticket")
    rows = mixed.levels.query("init == 'xavier_n' and lr < 0.01 and arm == 'ticket'")
    expected = [statistics.fmean(rows.loc[rows["level"].eq(level), "early_stop_iteration"]) for level in range(7)]
    assert line.get_ydata().tolist() == pytest.approx(expected)
    assert figure.axes[0].get_ylabel() == "early-stop iteration"
