"""Trained or not: what differs is told, what does not is a coin, and no network is judged by what it was fitted to."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from multirun_analysis import trained
from multirun_analysis.errors import NothingToShow
from multirun_analysis.figures import trained_or_not
from multirun_analysis.load import Study, load
from multirun_analysis.view import choose

READ = {"scale": 1.0, "deviation": 0.1, "mean": 0.0, "skewness": 0.0, "kurtosis": 0.0, "positive": 0.5}


def measured(study: Study, differ: str, noise: float = 1.0) -> Study:
    """Return a study whose layers differ in one statistic after training; the others are random numbers."""
    draw = np.random.default_rng(0)
    rows = []
    for cell in study.readings.drop_duplicates(["key"]).to_dict("records"):
        for place in ("fc1.weight", "fc2.weight", "output.weight"):
            for iteration in (0, 50):
                same = {"level": 0, "place": place, "iteration": iteration}
                for name, value in READ.items():
                    drawn = value + 0.01 * noise * draw.standard_normal() + (iteration if name == differ else 0)
                    rows.append({**cell, **same, "name": name, "at": None, "value": drawn})
                for at in (0.25, 0.75):
                    drawn = (at - 0.5) * (1 + 0.1 * draw.random())
                    rows.append({**cell, **same, "name": "quantile", "at": at, "value": drawn})
    return dataclasses.replace(study, readings=pd.DataFrame(rows))


@pytest.fixture
def study(write_cell: Callable[..., str], tmp_path: Path) -> Study:
    """Return a study of 12 networks."""
    for seed in range(12):
        write_cell(seed=seed, levels=1, epochs=1, readings=("norm",))
    return load(tmp_path / "made_up")


@pytest.mark.parametrize("differ", ["kurtosis", "skewness", "scale"])
def test_the_statistic_that_differs_tells_and_the_others_do_not(study: Study, differ: str) -> None:
    found = trained.table(measured(study, differ)).set_index(["line", "statistic"])
    assert set(found["n"]) == {12}
    assert set(found["layers"]) == {36}
    assert set(found["folds"]) == {10}
    for classifier in (trained.LOGISTIC, trained.TREE):
        assert found.loc[(classifier, differ), "accuracy"] == 1
        assert found.loc[(classifier, ""), "accuracy"] > 0.9
        others = [name for name in trained.STATISTICS if name != differ]
        assert all(0.2 < found.loc[(classifier, name), "accuracy"] < 0.8 for name in others)
        one = found.loc[(classifier, others[0])]
        assert one["low"] < one["accuracy"] < one["high"]


def test_where_nothing_differs_it_is_a_coin(study: Study) -> None:
    found = trained.table(measured(study, "none"))
    whole = found[found["statistic"].eq("")]
    assert whole["accuracy"].between(0.3, 0.7).all()


def test_several_studies_are_the_folds(write: Callable[..., str], tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two", "three")]
    for folder in folders:
        for seed in (0, 1):
            write(folder, seed=seed, levels=1, epochs=1, readings=("norm",))
    study = load(*folders)
    found = trained.table(measured(study, "mean"))
    assert set(found["by"]) == {"study"}
    assert set(found["folds"]) == {3}
    (figure,) = trained_or_not.draw(found, choose(study.cells))
    assert "Classifiers were fitted to other studies, in 3 folds." in figure.get_supxlabel().replace("\n", " ")


def test_no_network_is_judged_by_what_was_fitted_to_its_own_study(write: Callable[..., str], tmp_path: Path) -> None:
    """A statistic that grows in one study and falls in the other misleads always, but who has seen both."""
    folders = [tmp_path / name for name in ("grows", "falls")]
    for folder in folders:
        for seed in (0, 1, 2):
            write(folder, seed=seed, levels=1, epochs=1, readings=("norm",))
    study = measured(load(*folders), "kurtosis")
    turned = study.readings["name"].eq("kurtosis") & study.readings["study"].astype("str").eq("falls")
    rows = study.readings.assign(value=study.readings["value"].where(~turned, -study.readings["value"]))
    found = trained.table(dataclasses.replace(study, readings=rows)).set_index(["line", "statistic"])
    for classifier in (trained.LOGISTIC, trained.TREE):
        assert found.loc[(classifier, "kurtosis"), "accuracy"] <= 0.5
        assert found.loc[(classifier, ""), "accuracy"] <= 0.5


def test_one_seed_or_no_readings_have_no_such_figure(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(levels=1, epochs=1, readings=("norm",))
    study = load(tmp_path / "made_up")
    with pytest.raises(NothingToShow, match=r"no weights were measured: measure=\[weights\] does"):
        trained_or_not.table(study, choose(study.cells))
    whole = measured(study, "mean")
    for lacking in (
        whole.readings["iteration"].gt(0),
        whole.readings["iteration"].eq(0),
        whole.readings["name"].ne("quantile"),
    ):
        with pytest.raises(NothingToShow, match="measured before training and after, quantiles too"):
            trained.table(dataclasses.replace(study, readings=whole.readings[lacking]))
    with pytest.raises(NothingToShow, match="told from other seeds or studies, and there is one"):
        trained.table(measured(study, "mean"))
