"""The data of the page's plots as plain lists and numbers, null for a missing number."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from multirun_analysis import curves, metrics, view
from multirun_analysis.load import Study
from multirun_analysis.metrics import DEFAULT
from multirun_analysis.report import answers
from multirun_analysis.schema import COUNTED

# Lines of a plot; the page says how many more there are.
MOST_LINES = 240

# Metrics that the page offers first, of each headline and then of all.
_FIRST = (DEFAULT, "best_test_{headline}", "early_stop_test_{headline}")
_NEXT = ("test_loss", "early_stop_iteration")


def lines(study: Study) -> dict[str, Any]:
    """Return the curves of a study: means over seeds of every metric at each level, a line for each choice and arm.

    `{"columns": [...], "metrics": [...], "shares": metrics that are written in percent, "apart": a column that first
    has rows of panels, since its scores differ, or nothing, "left_out": lines beyond MOST_LINES, "lines": [{"config":
    [text a column], "arm", "level": [...], "remaining": [...], "n": [...], "values": {metric: [[mean], [least],
    [greatest]]}}]}`. Failed and diverged cells are in no line.
    """
    columns = view.varying(study.cells)
    counted = curves.final(study.levels[study.levels["status"].isin(COUNTED)])
    names = [name for name in curves.metrics(study.levels) if counted[name].notna().any()]
    if not names:
        return {"columns": columns, "metrics": [], "shares": [], "apart": "", "lines": [], "left_out": 0}
    headlines = metrics.headlines(counted)
    first = [*(metrics.named(name, headline) for headline in headlines for name in _FIRST), *_NEXT]
    names = sorted(names, key=lambda name: first.index(name) if name in first else len(first))
    named = counted.assign(**{f"_{i}": view.label(counted, (name,)) for i, name in enumerate(columns)})
    place = [*(f"_{i}" for i in range(len(columns))), "arm"]
    cells = curves.mean_of_draws(named, [*place, "level"], ["remaining", *names])
    table = cells.groupby([*place, "level"], observed=True, sort=True)
    found = table[names].agg(["mean", "min", "max"])
    weights, n = table["remaining"].mean(), table["key"].nunique()
    every = []
    for key, rows in found.groupby(place, observed=True, sort=True):
        every.append(
            {
                "config": [str(name) for name in key[:-1]],
                "arm": str(key[-1]),
                "level": [int(level) for level in rows.index.get_level_values("level")],
                "remaining": numbers(weights.loc[rows.index]),
                "n": [int(size) for size in n.loc[rows.index]],
                "values": {name: [numbers(rows[name][kind]) for kind in ("mean", "min", "max")] for name in names},
            }
        )
    return {
        "columns": columns,
        "metrics": names,
        "apart": "dataset" if "dataset" in columns and len(metrics.resolved(counted, DEFAULT)) > 1 else "",
        "shares": [name for name in names if metrics.of(name).unit == metrics.POINTS],
        "lines": every[:MOST_LINES],
        "left_out": max(0, len(every) - MOST_LINES),
    }


def differences(parts: Sequence[metrics.Part], at_levels: Sequence[pd.DataFrame]) -> list[dict[str, Any]]:
    """Return the differences of each pair at each level, with intervals: a curve for each setting of each part.

    at_levels: the second table of `choices.contests` of each part. Differences are in the metric's unit.
    """
    found: list[dict[str, Any]] = []
    by = ["axis", "left_name", "right_name", "setting"]
    groups = [
        (part, *group)
        for part, table in zip(parts, map(answers.at_each_level, at_levels), strict=True)
        for group in table.groupby(by, observed=True, sort=False)
    ]
    for part, (axis, left, right, setting), rows in groups:
        if len(found) == MOST_LINES:
            break
        factor = part.metric.factor
        found.append(
            {
                "part": part.name,
                "metric": part.metric.name,
                "unit": part.metric.unit,
                "places": 3 if part.metric.places is None else part.metric.places,
                "better": "above" if part.metric.higher else "below",
                "axis": axis,
                "left": left,
                "right": right,
                "setting": setting,
                "level": [int(level) for level in rows["level"]],
                "n": [int(n) for n in rows["n"]],
                **{name: numbers(rows[name]) for name in ("remaining", "p_holm")},
                **{name: numbers(factor * rows[name]) for name in ("difference", "low", "high")},
            }
        )
    return found


def numbers(column: pd.Series) -> list[float | None]:
    """Return numbers rounded to six figures, finer than any screen, and null for one that is not finite."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in column]
