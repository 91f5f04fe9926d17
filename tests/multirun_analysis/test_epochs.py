"""Epochs to a score with censored networks: against statsmodels, and by hand."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from statsmodels.duration.survfunc import SurvfuncRight

from ltsweep.schema import DIVERGED
from multirun_analysis import epochs
from multirun_analysis.claims import Claim, judge
from multirun_analysis.errors import NothingToShow
from multirun_analysis.figures import epochs_by_length, epochs_to_score
from multirun_analysis.load import Study, load
from multirun_analysis.pairing import Side
from multirun_analysis.view import choose


def test_the_estimates_by_hand() -> None:
    """Of five, two are there at 1 and at 3, one leaves unseen at 2, and two are not there at 4."""
    found = epochs.kaplan_meier([1, 3, 2, 4, 4], [True, True, False, False, False])
    assert found.median == math.inf
    assert found.mean == pytest.approx(1 + 0.8 * 2 + 0.8 * 2 / 3 * 1)
    after_1, after_3 = 0.8 * 2 + 0.8 * 2 / 3, 0.8 * 2 / 3
    away = 1.959964 * math.sqrt(after_1**2 / (5 * 4) + after_3**2 / (3 * 2))
    assert (found.low, found.high) == pytest.approx((found.mean - away, min(found.mean + away, 4)))


def test_none_there_all_there_and_all_at_once() -> None:
    assert epochs.kaplan_meier([5, 5], [False, False]) == (math.inf, 5, 5, 5)
    assert epochs.kaplan_meier([1, 2, 3], [True] * 3)[:2] == (2, 2)
    assert epochs.kaplan_meier([2, 2], [True, True])[:2] == (2, 2)
    assert epochs.kaplan_meier([0, 0, 4], [True, True, False])[:2] == (0, pytest.approx(4 / 3))


@pytest.mark.parametrize("seed", range(5))
def test_the_survival_is_that_of_statsmodels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    times, limits = rng.integers(1, 12, 40), rng.integers(3, 12, 40)
    there, seen = times <= limits, np.minimum(times, limits)
    found, theirs = epochs.kaplan_meier(seen, there), SurvfuncRight(seen, there)
    assert found.median == theirs.quantile(0.5)
    starts = [0, *theirs.surv_times]
    mean = np.sum(np.array([1, *theirs.surv_prob]) * np.diff([*starts, seen.max()]))
    assert found.mean == pytest.approx(mean)


@pytest.fixture
def study(write_cell: Callable[..., str], tmp_path: Path) -> Study:
    """Two inits at two depths, three seeds each: the rows of a cell end where it is at 0.2, or after four epochs."""
    ends = {}
    stop = {"stop": {"name": "at_accuracy", "_target_": "ltsweep.lottery.stop.AtAccuracy"}}
    for init in ("he_n", "lecun_n"):
        for depth in (10, 50):
            for seed in range(3):
                fields = {"stop__threshold": 0.2, "stop__score": "test_accuracy", "model__depth": depth}
                diverged = (
                    {"status": DIVERGED, "last": 0, "error": "nan"} if (init, depth, seed) == ("he_n", 50, 2) else {}
                )
                key = write_cell(levels=0, epochs=4, init=init, seed=seed, **stop, **fields, **diverged)
                ends[key] = seed + 1 if init == "he_n" or depth == 10 else None
    study = load(tmp_path / "made_up")
    last = study.evaluations["key"].astype("str").map(ends)
    rows = study.evaluations.assign(test_accuracy=np.where(study.evaluations["epoch"] >= last.fillna(99), 0.3, 0.1))
    return dataclasses.replace(study, evaluations=rows[~(rows["epoch"] > last)].reset_index(drop=True))


def test_a_network_that_is_not_there_is_censored_and_so_is_one_that_diverges(study: Study) -> None:
    view = choose(study.cells)
    found = epochs.table(study, view).set_index(["line", "x"])
    assert set(found["against"]) == {"model.depth"}
    assert found.loc[("he_n", 10)][["median", "mean", "n", "there", "limit"]].tolist() == [2, 2, 3, 3, 3]
    assert found.loc[("he_n", 50)][["median", "n", "there"]].tolist() == [2, 3, 2]
    assert found.loc[("he_n", 50), "mean"] == pytest.approx((1 + 2 + 4) / 3)
    assert found.loc[("lecun_n", 50)][["median", "mean", "there"]].tolist() == [math.inf, 4, 0]
    (figure,) = epochs_to_score.draw(found.reset_index(), view)
    assert "Not there when their level ended, or diverged: 4 of 12 networks" in figure.get_supxlabel()
    assert any(line.get_label() == "_beyond" and len(line.get_xdata()) for line in figure.axes[0].lines)


def test_each_network_stands_at_its_length_a_diverged_one_too(study: Study) -> None:
    cells = study.evaluations.drop_duplicates("key").to_dict("records")
    rows = [
        {**cell, "iteration": 0, "name": name, "place": f"act{at}", "at": float(at), "value": value}
        for cell in cells
        for at in (0, 1, 2)
        for name, value in (("length", (2.0 if cell["init"] == "he_n" else 0.01) ** at), ("units", 5.0))
    ]
    study = dataclasses.replace(study, readings=pd.DataFrame(rows))
    view = choose(study.cells)
    found = epochs_by_length.table(study, view)
    assert len(found) == 12
    assert set(found["depth"]) == {2}
    by_init = found.groupby("line", observed=True)["x"]
    assert by_init.max().to_dict() == by_init.min().to_dict() == pytest.approx({"he_n": 4, "lecun_n": 1e-4})
    (figure,) = epochs_by_length.draw(found, view)
    note = figure.get_supxlabel().replace("\n", " ")
    assert "There were: 5 of 6 within a factor of 100, 3 of 6 beyond it." in note
    with pytest.raises(NothingToShow, match="has a length scale"):
        epochs_by_length.table(dataclasses.replace(study, readings=study.readings.assign(value=0.0)), view)


def test_a_claim_can_be_about_the_share_that_is_there(study: Study) -> None:
    where = {"model.depth": 50}
    sides = (Side({"init": "lecun_n"}), Side({"init": "he_n"}))
    claim = Claim("c", "s", "t", (sides,), 1.0, "less", metric="score_reached", where=where)
    (row,) = judge(epochs.with_metrics(study, study.levels), [claim]).to_dict("records")
    assert (row["n"], row["left"], row["right"]) == (2, 0, 1)


def test_records_without_such_an_end_have_no_such_figure(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(levels=0, epochs=1)
    study = load(tmp_path / "made_up")
    with pytest.raises(NothingToShow, match="no cell ends at a score: stop=at_accuracy does"):
        epochs_to_score.table(study, choose(study.cells))
    assert epochs.with_metrics(study, study.levels)["score_reached"].isna().all()
