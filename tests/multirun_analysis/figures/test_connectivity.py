"""The error barrier between tickets and their twins, against the weights remaining."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from ltsweep.schema import REINIT, TICKET, TWIN
from multirun_analysis.errors import NothingToShow
from multirun_analysis.figures import connectivity as figure_file
from multirun_analysis.load import Study, load
from multirun_analysis.view import choose


@pytest.fixture
def study(write_cell: Callable[..., str], tmp_path: Path) -> Study:
    for init in ("he_n", "xavier_u"):
        for seed in range(3):
            arms = {TICKET: 1, TWIN: 2, REINIT: 1}
            write_cell(init=init, seed=seed, levels=2, epochs=1, arms=arms, readings=("test_barrier", "norm"))
    return load(tmp_path / "made_up")


def test_the_mean_over_the_twins_of_a_cell_then_over_seeds(study: Study) -> None:
    readings = study.readings[study.readings["place"].eq("") | study.readings["place"].isna()].copy()
    readings["value"] = [
        10.0 * row.level + row.seed + 0.5 * row.draw + (100 if row.init == "he_n" else 0)
        for row in readings.itertuples()
    ]
    view = choose(study.cells)
    table = figure_file.table(dataclasses.replace(study, readings=readings), view)
    for init, more in (("he_n", 100), ("xavier_u", 0)):
        mine = table[table["hue"].eq(init) & table["cell"].eq("")].sort_values("remaining", ascending=False)
        assert list(mine["mean"]) == pytest.approx([more + 10 * level + 1 + 0.25 for level in (1, 2)])
        assert set(mine["n"]) == {3}
        assert list(mine["low"]) == pytest.approx([more + 10 * level + 0.25 for level in (1, 2)])
    assert set(table["arm"]) == {TICKET}
    (figure,) = figure_file.draw(table, view)
    assert "barrier" in figure.axes[0].get_ylabel()


def test_records_without_a_twin_have_no_such_figure(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(levels=1, epochs=1, readings=("norm",))
    study = load(tmp_path / "made_up")
    with pytest.raises(NothingToShow, match=r"measure=\[connectivity\] with method\.controls=\[twin\]"):
        figure_file.table(study, choose(study.cells))
