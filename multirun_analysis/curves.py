"""From tidy tables to the tables that are drawn: means and bands over seeds. DataFrame in, DataFrame out."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from ltsweep.schema import DONE, TICKET
from multirun_analysis import metrics as known
from multirun_analysis.errors import AnalysisError, NothingToShow
from multirun_analysis.levels import levels_at
from multirun_analysis.schema import COUNTED, STOPPED
from multirun_analysis.view import View, label, labelled

# Kinds of band over seeds -> their words under a figure. The first is Frankle & Carbin's (2019, section 2), the second
# that of Yu et al. (2020, section 3.3.2), the last by Student's t.
BANDS = {
    "minmax": "from the least to the greatest",
    "sd": "of one standard deviation",
    "se": "of one standard error",
    "ci": "of the 95 % confidence interval of the mean",
}

# Column of an evaluation: the steps of environments that a network has seen, where it learns by acting. What an axis is
# called without it and with it.
_STEPS = "steps"
_ALONG = ("iteration", "environment steps")


def final(levels: pd.DataFrame) -> pd.DataFrame:
    """Return levels with the scores at their end named as an evaluation's: `final_test_loss` becomes `test_loss`.

    New are `generalization_gap`, training less test accuracy, and `loss_gap`, test less training loss, where these
    scores are headlines.
    """
    return known.with_gaps(levels.rename(columns=lambda name: name.removeprefix("final_")))


def metrics(levels: pd.DataFrame) -> list[str]:
    """Return the columns of `final(levels)` that can be drawn against the weights remaining: scores, iterations, ..."""
    return [name for name in final(levels).columns if known.is_recorded(name)]


def is_by_validation(metric: str) -> bool:
    """Return whether a metric is of the validation examples or chosen by them, and so null where none were held out."""
    return metric.startswith(("val", "best", "early_stop"))


def is_of_training(metric: str) -> bool:
    """Return whether a metric needs scores of the training set, and so is null where that was not scored."""
    return metric.startswith("train") or metric in known.GAPS


def mean_of_draws(df: pd.DataFrame, by: Sequence[str], values: Sequence[str]) -> pd.DataFrame:
    """Return the mean over an arm's draws within each cell: a cell of three re-inits weighs as much as one of one.

    One row for each (key, *by), with the columns `values`; a score that is null in one draw is null.
    """
    draws = df.groupby(["key", *by], observed=True, sort=True)[list(values)]
    whole = draws.count().eq(draws.size(), axis="index")
    return draws.mean().where(whole).reset_index()


def bands(df: pd.DataFrame, by: Sequence[str], metric: str, kind: str = "minmax") -> pd.DataFrame:
    """Return, of a table with a row a cell, one row for each `by`: `mean, low, high` over the `n` cells with a value.

    `low` and `high` are the least and the greatest value (`minmax`), or the mean less and plus one standard deviation
    of the sample (`sd`) or standard error (`se`, that deviation over sqrt n) or t of them (`ci`, t the 97.5 % quantile
    of Student's t with n - 1 degrees of freedom); with one cell both are the mean. Groups in which no cell has a value
    are left out. Those of a perplexity are the exponentials of its loss's. Raises AnalysisError for an unknown kind.
    """
    if kind not in BANDS:
        raise AnalysisError(f"no band {kind!r}: it is one of {', '.join(BANDS)}")
    found = (
        df.groupby(list(by), observed=True, sort=True)[known.averaged(metric)]
        .agg(mean="mean", low="min", high="max", n="count", error="std" if kind == "sd" else "sem")
        .reset_index()
        .query("n > 0")
    )
    if kind != "minmax":
        error = found["error"].fillna(0.0)
        if kind == "ci":
            error = error * stdtrit(np.maximum(found["n"] - 1, 1), 0.975)
        found = found.assign(low=found["mean"] - error, high=found["mean"] + error)
    ends = ["mean", "low", "high"]
    return found.assign(**known.written(found[ends], metric)).drop(columns="error").reset_index(drop=True)


def accuracy_vs_remaining(levels: pd.DataFrame, view: View) -> pd.DataFrame:
    """Return the view's metric at the end of each level against the fraction of weights remaining.

    Columns: `row, col, hue` (names of panel and line)`, arm, cell, level, remaining, mean, low, high, n, cells, metric,
    scale` (as in `metrics.Rows`). `cell` is empty for a mean over cells, of which `n` have this level while `cells` is
    the most that this line has at any level; a failed or diverged cell is in no mean and has rows of its own, under its
    key. Raises AnalysisError where there is no such metric.
    """
    place = ["row", "col", "hue", "arm"]
    names = [*place, "cell", "level", "remaining", "mean", "low", "high", "n", "cells"]
    found = []
    for metric, scale, rows in recorded(labelled(final(levels), view), view.metric):
        scores = mean_of_draws(rows, [*place, "status", "level"], ["remaining", known.averaged(metric)])
        counted = scores[scores["status"].isin(COUNTED)]
        weights = bands(counted, [*place, "level"], "remaining").rename(columns={"mean": "remaining"})
        means = bands(counted, [*place, "level"], metric, view.band).merge(weights[[*place, "level", "remaining"]])
        means = means.assign(cell="", cells=means.groupby(place, observed=True)["n"].transform("max"))
        every = pd.concat([means, _one_by_one(scores, metric)], ignore_index=True)
        found.append(every[names].assign(metric=metric, scale=scale))
    return pd.concat(found, ignore_index=True)


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
    level, remaining, score, iteration, x, along, mean, low, high, n`. `x` is the steps of environments up to then,
    where there are any, and else the iteration; `along` says which. Levels are `levels_at(...)` unless given. Failed
    and diverged cells are left out; scores without any value, such as validation scores where nothing was held
    out, have no rows.
    """
    wanted = list(levels) or levels_at(evaluations, view)
    counted = evaluations[
        evaluations["status"].isin(COUNTED) & evaluations["arm"].eq(arm) & evaluations["level"].isin(wanted)
    ]
    line = ["row", "choice", "level"]
    counted = counted.assign(row=label(counted, view.row), choice=label(counted, (*view.hue, *view.col)))
    steps = counted[_STEPS] if _STEPS in counted else pd.Series(np.nan, counted.index)
    counted = counted.assign(x=steps.fillna(counted["iteration"]), along=np.where(steps.isna(), *_ALONG))
    where = [*line, "iteration", "along"]
    cells = counted.pipe(mean_of_draws, where, ["remaining", "x", *scores])
    remaining = cells.groupby(line, observed=True)["remaining"].mean().reset_index()
    x = cells.groupby(where, observed=True)["x"].mean().reset_index()
    found = [bands(cells, where, score, view.band).assign(score=score) for score in scores]
    table = pd.concat(found, ignore_index=True).merge(remaining).merge(x)
    return table[[*line, "remaining", "score", "iteration", "x", "along", "mean", "low", "high", "n"]]


def at_remaining(levels: pd.DataFrame, metric: str, wanted: float) -> pd.DataFrame:
    """Return for each cell the ticket's level nearest, by ratio, to a fraction of weights remaining.

    Columns: `key, level, remaining` and the metric, of the cells that enter means; a perplexity as its loss. A cell
    without a level within a factor of 1.5 is left out, and so is a running cell that still has more weights.
    """
    scores = final(levels).pipe(_with_metric, metric)
    counted = scores[scores["arm"].eq(TICKET) & scores["status"].isin(COUNTED)]
    passed = counted["status"].eq(DONE) | counted.groupby("key", observed=True)["remaining"].transform("min").le(wanted)
    # Of equally near levels the first, which is the denser one: levels are in order within a cell.
    away = np.log(counted["remaining"] / wanted).abs().round(9)
    nearest = counted.assign(_away=away)[passed].sort_values("_away", kind="stable").drop_duplicates("key")
    there: pd.DataFrame = nearest[nearest["_away"] <= np.log(1.5)].sort_index()
    return there[["key", "level", "remaining", known.averaged(metric)]].reset_index(drop=True)


def check_metric(levels: pd.DataFrame, metric: str) -> None:
    """Raise NothingToShow where a metric has no value in these records, AnalysisError where there is no such metric.

    Of a metric that differs with the headline, it is enough that the cells of one have values.
    """
    lacking = []
    for name, _, rows in known.resolved(final(levels), metric):
        try:
            if _with_metric(rows, name)[known.averaged(name)].notna().any() or rows.empty:
                return
        except NothingToShow as nothing:
            lacking.append(str(nothing))
        else:
            lacking.append(f"{known.words(name)} has no value in these records{_because(name)}")
    if lacking:
        raise NothingToShow("; ".join(lacking))


def recorded(levels: pd.DataFrame, template: str) -> list[known.Rows]:
    """Return `metrics.resolved` of levels, without metrics that none has. Raises AnalysisError where no other is left.

    Raises NothingToShow instead where other studies may have it.
    """
    every = known.resolved(levels, template)
    there = [one for one in every if known.averaged(one.metric) in metrics(levels)]
    if not there:
        _with_metric(final(levels), every[0].metric if every else template)
    return there


def _because(metric: str) -> str:
    if is_by_validation(metric):
        return " (validation=0: no examples were held out)"
    return " (evaluate_train=false: the training set was not scored)" if is_of_training(metric) else ""


def _with_metric(levels: pd.DataFrame, metric: str) -> pd.DataFrame:
    if known.averaged(metric) not in metrics(levels):
        if metric in known.NAMES:  # other problems have it
            raise NothingToShow(f"these records have no {known.words(metric)}")
        raise AnalysisError(f"no metric {metric!r}: it is one of {', '.join(metrics(levels))}")
    return levels


def _one_by_one(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    stopped = scores[scores["status"].isin(STOPPED)]
    value = known.written(stopped[[known.averaged(metric)]], metric).iloc[:, 0]
    return stopped.assign(cell=stopped["key"].astype("str"), mean=value, low=value, high=value, n=1, cells=1)
