"""From tidy tables to the tables that are drawn: means and bands over seeds. DataFrame in, DataFrame out."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from ltsweep.schema import DONE, TICKET
from multirun_analysis.errors import AnalysisError, NothingToShow
from multirun_analysis.levels import levels_at
from multirun_analysis.schema import COUNTED, STOPPED
from multirun_analysis.view import View, label, labelled

# Kinds of band over seeds -> their words under a figure. The first is Frankle & Carbin's (2019, section 2), the last
# by Student's t.
BANDS = {
    "minmax": "from the least to the greatest",
    "se": "of one standard error",
    "ci": "of the 95 % confidence interval of the mean",
}


def final(levels: pd.DataFrame) -> pd.DataFrame:
    """Return levels with the scores at their end named as an evaluation's: `final_test_loss` becomes `test_loss`.

    One column is new: `generalization_gap`, training less test accuracy.
    """
    return levels.rename(columns=lambda name: name.removeprefix("final_")).assign(
        generalization_gap=lambda df: df["train_accuracy"] - df["test_accuracy"]
    )


def metrics(levels: pd.DataFrame) -> list[str]:
    """Return the columns of `final(levels)` that can be drawn against the weights remaining: scores, iterations, ..."""
    ends = ("_loss", "_accuracy", "_iteration", "iterations_trained", "seconds", "_gap", "_barrier")
    return [name for name in final(levels).columns if name.endswith(ends)]


def is_by_validation(metric: str) -> bool:
    """Return whether a metric is of the validation examples or chosen by them, and so null where none were held out."""
    return metric.startswith(("val", "best", "early_stop"))


def is_of_training(metric: str) -> bool:
    """Return whether a metric needs scores of the training set, and so is null where that was not scored."""
    return metric.startswith("train") or metric == "generalization_gap"


def mean_of_draws(df: pd.DataFrame, by: Sequence[str], values: Sequence[str]) -> pd.DataFrame:
    """Return the mean over an arm's draws within each cell: a cell of three re-inits weighs as much as one of one.

    One row for each (key, *by), with the columns `values`; a score that is null in one draw is null.
    """
    draws = df.groupby(["key", *by], observed=True, sort=True)[list(values)]
    whole = draws.count().eq(draws.size(), axis="index")
    return draws.mean().where(whole).reset_index()


def bands(df: pd.DataFrame, by: Sequence[str], metric: str, kind: str = "minmax") -> pd.DataFrame:
    """Return, of a table with a row a cell, one row for each `by`: `mean, low, high` over the `n` cells with a value.

    `low` and `high` are the least and the greatest value (`minmax`), or the mean less and plus one standard
    error (`se`, sample deviation over sqrt n) or t of them (`ci`, t the 97.5 % quantile of Student's t with
    n - 1 degrees of freedom); with one cell both are the mean. Groups in which no cell has a value are left
    out. Raises AnalysisError for an unknown kind.
    """
    if kind not in BANDS:
        raise AnalysisError(f"no band {kind!r}: it is one of {', '.join(BANDS)}")
    found = (
        df.groupby(list(by), observed=True, sort=True)[metric]
        .agg(mean="mean", low="min", high="max", n="count", error="sem")
        .reset_index()
        .query("n > 0")
    )
    if kind != "minmax":
        error = found["error"].fillna(0.0)
        if kind == "ci":
            error = error * stdtrit(np.maximum(found["n"] - 1, 1), 0.975)
        found = found.assign(low=found["mean"] - error, high=found["mean"] + error)
    return found.drop(columns="error").reset_index(drop=True)


def accuracy_vs_remaining(levels: pd.DataFrame, view: View) -> pd.DataFrame:
    """Return the view's metric at the end of each level against the fraction of weights remaining.

    Columns: `row, col, hue` (names of panel and line)`, arm, cell, level, remaining, mean, low, high, n,
    cells`. `cell` is empty for a mean over cells, of which `n` have this level while `cells` is the most that
    this line has at any level; a failed or diverged cell is in no mean and has rows of its own, under its
    key. Raises AnalysisError where the metric is not a column.
    """
    place = ["row", "col", "hue", "arm"]
    scores = (
        final(levels)
        .pipe(_with_metric, view.metric)
        .pipe(labelled, view)
        .pipe(mean_of_draws, [*place, "status", "level"], ["remaining", view.metric])
    )
    counted = scores[scores["status"].isin(COUNTED)]
    weights = bands(counted, [*place, "level"], "remaining").rename(columns={"mean": "remaining"})
    means = bands(counted, [*place, "level"], view.metric, view.band).merge(weights[[*place, "level", "remaining"]])
    return pd.concat(
        [
            means.assign(cell="", cells=means.groupby(place, observed=True)["n"].transform("max")),
            _one_by_one(scores, view.metric),
        ],
        ignore_index=True,
    )[[*place, "cell", "level", "remaining", "mean", "low", "high", "n", "cells"]]


def training_curves(
    evaluations: pd.DataFrame,
    view: View,
    scores: Sequence[str],
    *,
    levels: Sequence[int] = (),
    arm: str = TICKET,
) -> pd.DataFrame:
    """Return scores against the iteration within a level, for some levels of one arm.

    Columns: `row, choice` (name of what is in `view.row`, and of all else that varies but for the seed)`,
    level, remaining, score, iteration, mean, low, high, n`. Levels are `levels_at(...)` unless given. Failed and
    diverged cells are left out; scores without any value, such as validation scores where nothing was held
    out, have no rows.
    """
    wanted = list(levels) or levels_at(evaluations, view)
    counted = evaluations[
        evaluations["status"].isin(COUNTED) & evaluations["arm"].eq(arm) & evaluations["level"].isin(wanted)
    ]
    line = ["row", "choice", "level"]
    cells = counted.assign(row=label(counted, view.row), choice=label(counted, (*view.hue, *view.col))).pipe(
        mean_of_draws, [*line, "iteration"], ["remaining", *scores]
    )
    remaining = cells.groupby(line, observed=True)["remaining"].mean().reset_index()
    return pd.concat(
        [bands(cells, [*line, "iteration"], score, view.band).assign(score=score) for score in scores],
        ignore_index=True,
    ).merge(remaining)[[*line, "remaining", "score", "iteration", "mean", "low", "high", "n"]]


def at_remaining(levels: pd.DataFrame, view: View, wanted: float) -> pd.DataFrame:
    """Return for each cell the ticket's level nearest, by ratio, to a fraction of weights remaining.

    Columns: `key, level, remaining` and the view's metric, of the cells that enter means. A cell without a level within
    a factor of 1.5 is left out, and so is a running cell that still has more weights than that.
    """
    scores = final(levels).pipe(_with_metric, view.metric)
    counted = scores[scores["arm"].eq(TICKET) & scores["status"].isin(COUNTED)]
    passed = counted["status"].eq(DONE) | counted.groupby("key", observed=True)["remaining"].transform("min").le(wanted)
    # Of equally near levels the first, which is the denser one: levels are in order within a cell.
    away = np.log(counted["remaining"] / wanted).abs().round(9)
    nearest = counted.assign(_away=away)[passed].sort_values("_away", kind="stable").drop_duplicates("key")
    there: pd.DataFrame = nearest[nearest["_away"] <= np.log(1.5)].sort_index()
    return there[["key", "level", "remaining", view.metric]].reset_index(drop=True)


def check_metric(levels: pd.DataFrame, metric: str) -> None:
    """Raise NothingToShow where a metric has no value in these records, AnalysisError where there is no such metric."""
    if len(levels) and _with_metric(final(levels), metric)[metric].isna().all():
        raise NothingToShow(f"{metric.replace('_', ' ')} has no value in these records{_because(metric)}")


def _because(metric: str) -> str:
    if is_by_validation(metric):
        return " (validation=0: no examples were held out)"
    return " (evaluate_train=false: the training set was not scored)" if is_of_training(metric) else ""


def _with_metric(levels: pd.DataFrame, metric: str) -> pd.DataFrame:
    known = metrics(levels)
    if metric not in known:
        raise AnalysisError(f"no metric {metric!r}: it is one of {', '.join(known)}")
    return levels


def _one_by_one(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    stopped = scores[scores["status"].isin(STOPPED)]
    value = stopped[metric]
    return stopped.assign(cell=stopped["key"].astype("str"), mean=value, low=value, high=value, n=1, cells=1)
