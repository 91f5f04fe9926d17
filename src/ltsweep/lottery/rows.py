"""The rows of a level: one for each evaluation, one summary for each arm. Pure functions over plain values."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ltsweep.engine.problem import Problem, Score
from ltsweep.engine.stack import State
from ltsweep.method.axes import TICKET, Arm
from ltsweep.prune import Layer
from ltsweep.schema import COUNTS, SPLITS

Row = dict[str, Any]


def measured(problem: Problem) -> tuple[str, ...]:
    """Return the names of all that a problem measures, in the order of the columns."""
    scores = [f"{split}_{score.name}" for split in SPLITS for score in problem.scores if split in score.splits]
    return (*scores, *problem.counts)


def evaluation_rows(
    arms: Sequence[Arm], names: Sequence[str], scores: Mapping[str, list[float]], first: int, **same: Any
) -> list[Row]:
    """Return a row for each arm of a cell. Its networks begin at `first` in `scores`; `same` goes into every row.

    names: of all that is measured. A score that was not taken is None.
    """
    return [
        {
            "arm": arm.name,
            "draw": arm.draw,
            **same,
            **{name: _value(name, scores[name][c]) if name in scores else None for name in names},
        }
        for c, arm in enumerate(arms, start=first)
    ]


def _value(name: str, value: float) -> float:
    return int(value) if name in COUNTS else value


def newest(table: Sequence[Row], arm: Arm) -> Row:
    """Return the last row of an arm."""
    return [row for row in table if (row["arm"], row["draw"]) == (arm.name, arm.draw)][-1]


def until_diverged(table: list[Row]) -> tuple[list[Row], bool]:
    """Return the rows up to the first evaluation with a non-finite loss of the ticket, and if there is one.

    The loss is that of training or, where this was not scored, of the test set.
    """
    bad = [row["iteration"] for row in table if row["arm"] == TICKET.name and not _is_sound(row)]
    return ([row for row in table if row["iteration"] <= bad[0]], True) if bad else (table, False)


def _is_sound(row: Row) -> bool:
    return math.isfinite(row["test_loss"] if row["train_loss"] is None else row["train_loss"])


def layer_counts(state: State, c: int, layers: Sequence[Layer]) -> Row:
    """Return the remaining and total weights of network c, layer by layer; every arm of a cell has the same."""
    return {
        "layers": [layer.name for layer in layers],
        "layer_remaining": [int(torch.count_nonzero(state.masks[layer.name][c])) for layer in layers],
        "layer_total": [math.prod(layer.shape) for layer in layers],
    }


def summaries(table: Sequence[Row], counts: Row, names: Sequence[str], headline: Score) -> list[Row]:
    """Return one row for each arm of a level: its final, best-by-validation and early-stop scores.

    names: of all that is measured. The best model is that of the best validation score `headline`. The early-stop
    iteration is that of the minimum validation loss (Frankle & Carbin 2019, section 2), of problems that have one. Of
    equals the first counts. Without a validation split both are None.
    """
    found, by, sign = [], headline.name, 1 if headline.better == "higher" else -1
    on_validation = [name for name in names if name.startswith("val_")]
    for arm in dict.fromkeys((row["arm"], row["draw"]) for row in table):
        rows = [row for row in table if (row["arm"], row["draw"]) == arm]
        last = rows[-1]
        scored = [row for row in rows if all(math.isfinite(row[name]) for name in on_validation)]
        best = max(scored, key=lambda row: sign * row[f"val_{by}"], default=None)
        stopped = {}
        if "val_loss" in names:
            early = min(scored, key=lambda row: row["val_loss"], default=None)
            stopped = {
                "early_stop_iteration": early and early["iteration"],
                "early_stop_val_loss": early and early["val_loss"],
                f"early_stop_test_{by}": early and early[f"test_{by}"],
            }
        found.append(
            {name: last[name] for name in ("arm", "draw", "level", "weights_remaining", "weights_total")}
            | {"iterations": last["iteration"]}
            | {f"final_{name}": last[name] for name in names}
            | {"best_iteration": best and best["iteration"]}
            | {f"best_{split}_{by}": best and best[f"{split}_{by}"] for split in ("val", "test")}
            | stopped
            | {"seconds": last["seconds"]}
            | counts
        )
    return found
