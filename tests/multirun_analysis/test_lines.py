"""What the figures over weights remaining share: bars, several metrics, and nothing to show."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from multirun_analysis import lines
from multirun_analysis.errors import AnalysisError, NothingToShow
from multirun_analysis.load import Study, load
from multirun_analysis.view import View

VIEW = View(col=("lr",), hue=("init",))


def test_bars_go_from_the_least_to_the_greatest_at_each_level(mixed: Study) -> None:
    view = dataclasses.replace(VIEW, bars=True)
    table = lines.table(mixed, view, ["test_accuracy"])
    (figure,) = lines.draw(table, view)
    means = table[table["cell"].eq("")]
    for ax, (_, panel) in zip(figure.axes, means.groupby("col", observed=True), strict=True):
        bars = {str(bars.get_label()): bars for bars in ax.containers}
        for (hue, arm), rows in panel.groupby(["hue", "arm"], observed=True):
            (drawn,) = bars[f"_{hue}|{arm}"].lines[2]
            ends = [[tuple(end) for end in segment] for segment in drawn.get_segments()]
            wanted = rows[["remaining", "low", "high"]].itertuples(index=False)
            assert [x for segment in ends for x in segment] == [
                pytest.approx(end) for x, low, high in wanted for end in ((x, low), (x, high))
            ]
    assert "bars from the least to the greatest" in " ".join(figure.get_supxlabel().split())


def test_each_metric_has_its_rows_and_its_axis(mixed: Study) -> None:
    table = lines.table(mixed, VIEW, ["test_accuracy", "train_loss"])
    (figure,) = lines.draw(table, VIEW)
    assert [ax.get_ylabel() for ax in figure.axes] == ["test accuracy"] * 2 + ["train loss (nats)"] * 2
    assert figure.axes[0].get_ylim() != figure.axes[2].get_ylim()


def test_a_metric_without_values_is_nothing_to_show(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(validation=0, levels=1, epochs=1)
    study = load(tmp_path / "made_up")
    says = r"early stop iteration has no value in these records \(validation=0: no examples were held out\)"
    with pytest.raises(NothingToShow, match=says):
        lines.table(study, View(), ["early_stop_iteration"])
    with pytest.raises(AnalysisError, match="no metric 'accuracy'"):
        lines.table(study, View(), ["accuracy"])
