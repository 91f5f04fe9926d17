"""The data of the page's plots as plain lists and numbers, null for a missing number."""

import math
from typing import Any

import pandas as pd

from multirun_analysis import curves, view
from multirun_analysis.load import Study
from multirun_analysis.schema import COUNTED

# Lines of a plot; the page says how many more there are.
MOST_LINES = 240

# Metrics that the page offers first.
_FIRST = ("test_accuracy", "best_test_accuracy", "early_stop_test_accuracy", "test_loss", "early_stop_iteration")


def lines(study: Study) -> dict[str, Any]:
    """Return the curves of a study: means over seeds of every metric at each level, a line for each choice and arm.

    `{"columns": [...], "metrics": [...], "left_out": lines beyond MOST_LINES, "lines": [{"config": [text a column],
    "arm", "level": [...], "remaining": [...], "n": [...], "values": {metric: [[mean], [least], [greatest]]}}]}`.
    Failed and diverged cells are in no line.
    """
    columns = view.varying(study.cells)
    counted = curves.final(study.levels[study.levels["status"].isin(COUNTED)])
    metrics = [name for name in curves.metrics(study.levels) if counted[name].notna().any()]
    if not metrics:
        return {"columns": columns, "metrics": [], "lines": [], "left_out": 0}
    metrics = sorted(metrics, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    named = counted.assign(**{f"_{i}": view.label(counted, (name,)) for i, name in enumerate(columns)})
    place = [*(f"_{i}" for i in range(len(columns))), "arm"]
    cells = curves.mean_of_draws(named, [*place, "level"], ["remaining", *metrics])
    table = cells.groupby([*place, "level"], observed=True, sort=True)
    found = table[metrics].agg(["mean", "min", "max"])
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
                "values": {name: [numbers(rows[name][kind]) for kind in ("mean", "min", "max")] for name in metrics},
            }
        )
    return {
        "columns": columns,
        "metrics": metrics,
        "lines": every[:MOST_LINES],
        "left_out": max(0, len(every) - MOST_LINES),
    }


def differences(at_levels: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the differences of `choices.contests` at each level: a curve with its interval for each pair."""
    found: list[dict[str, Any]] = []
    by = ["axis", "left_name", "right_name", "setting"]
    for (axis, left, right, setting), rows in at_levels.groupby(by, observed=True, sort=False):
        if len(found) == MOST_LINES:
            break
        found.append(
            {
                "axis": axis,
                "left": left,
                "right": right,
                "setting": setting,
                "level": [int(level) for level in rows["level"]],
                "n": [int(n) for n in rows["n"]],
                **{name: numbers(rows[name]) for name in ("remaining", "difference", "low", "high", "p_holm")},
            }
        )
    return found


def numbers(column: pd.Series) -> list[float | None]:
    """Return numbers rounded to six figures, finer than any screen, and null for one that is not finite."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in column]
