"""|Z| of the runs test by kind of tensor, before training and after."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from multirun_analysis import runs
from multirun_analysis.claims import judge
from multirun_analysis.claims.read import published
from multirun_analysis.errors import NothingToShow
from multirun_analysis.figures import runs_test as figure_file
from multirun_analysis.load import load
from multirun_analysis.view import choose


def test_means_over_networks_and_the_largest_of_all(write_cell: Callable[..., str], tmp_path: Path) -> None:
    for init in ("he_n", "lecun_n"):
        for seed in (0, 1):
            write_cell(init=init, seed=seed, levels=1, epochs=1, readings=("norm",))
    study = load(tmp_path / "made_up")
    first = study.readings.drop_duplicates(["key"])
    rows = [
        {**row, "iteration": iteration, "level": level, "name": name, "place": kind, "at": float(at), "value": value}
        for row in first.to_dict("records")
        for kind in ("conv weight", "norm bias")
        for at in (0, 16)
        for iteration, level in ((0, 0), (50, 0), (50, 1))
        for name, value in (
            ("runs_z_mean", 1.0 + row["seed"] + at + iteration + 1000 * level),
            ("runs_z_max", 5.0 + row["seed"] if kind == "conv weight" else float("nan")),
            ("runs_z", 99.0),
        )
    ]
    found = runs.table(dataclasses.replace(study, readings=pd.DataFrame(rows)), choose(study.cells))
    assert set(found["line"]) == {"he_n", "lecun_n"}
    one = found[found["line"].eq("he_n") & found["kind"].eq("conv weight")].set_index(["moment", "x"])
    assert one["mean"].to_dict() == {
        (runs.BEFORE, 0): 1.5, (runs.BEFORE, 16): 17.5, (runs.AFTER, 0): 51.5, (runs.AFTER, 16): 67.5
    }  # fmt: skip
    assert set(one["largest"]) == {6.0}
    assert set(one["n"]) == {2}
    (figure,) = figure_file.draw(found, choose(study.cells))
    assert {ax.get_ylabel() for ax in figure.axes} == {"|Z| of runs, conv weight", "|Z| of runs, norm bias"}


def test_a_claim_holds_the_rejections_of_kinds_of_one_network_against_each_other(
    write_cell: Callable[..., str], tmp_path: Path
) -> None:
    for seed in (0, 1, 2):
        write_cell(model="resnet20", seed=seed, levels=1, epochs=1, readings=("norm",))
    study = load(tmp_path / "made_up")
    share = {"conv weight": 0.5, "norm weight": 0.1, "norm bias": 0.3}
    rows = [
        {**row, "iteration": iteration, "level": 0, "name": "runs_z_rejected", "place": kind, "at": at}
        | {"value": value * (iteration > 0) + 0.01 * row["seed"] * (kind == "conv weight")}
        for row in study.readings.drop_duplicates(["key"]).to_dict("records")
        for kind, value in share.items()
        for at in (0.0, 16.0)
        for iteration in (0, 50)
    ]
    measured = dataclasses.replace(study, readings=pd.DataFrame(rows))
    claims = [claim for claim in published() if claim.name.startswith("C, trained convolutions")]
    (verdict,) = judge(runs.with_metrics(measured, measured.levels), claims).to_dict("records")
    assert verdict["verdict"] == "supported"
    assert (verdict["left"], verdict["right"]) == pytest.approx((0.51, 0.2))
    assert verdict["effect"] == pytest.approx(0.31)
    assert verdict["n"] == 3
    (without,) = judge(runs.with_metrics(study, study.levels), claims).to_dict("records")
    assert without["verdict"] == "not tested"
    assert without["why"] == "runs_rejected_conv has no value yet"


def test_records_without_the_test_have_no_such_figure(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(levels=1, epochs=1, readings=("norm",))
    study = load(tmp_path / "made_up")
    with pytest.raises(NothingToShow, match=r"no runs test was made: measure=\[mantissa\] does"):
        figure_file.table(study, choose(study.cells))
