"""The result of a cell that a search reads: the objective, or the error of a failed cell."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ltsweep.errors import CellFailedError
from ltsweep.grid.cell import Cell
from ltsweep.grid.objective import check_column, column
from ltsweep.run.extent import as_asked
from ltsweep.schema import DIVERGED, FINISHED, LEVELS_FILE, LOG, TICKET, headline_of
from ltsweep.store import tables

# The worst value of a column by the end of its name. Of another score it is not known which end is better.
_WORST = {"accuracy": 0.0, "return": -math.inf, "loss": math.inf, "iteration": math.inf, "iterations": math.inf}


def outcome(study: Path, cell: Cell, status: Mapping[str, Any], name: str | None) -> float | CellFailedError:
    """Return objective `name` of a cell's ticket at its last level, NaN for null; or the error of an unfinished cell.

    status: the fields of status.json, as written or as `extent.as_asked` returns them. name: None if no sweeper reads
    the result; then NaN, without reading the table.

    A diverged cell has the worst value: 0 for an accuracy, minus infinity for a return, infinity for a loss and for
    iterations, and NaN for a score of a user's own. Its scores before divergence do not count.
    """
    key, status = cell.key, as_asked(cell, status)
    if status["status"] not in FINISHED:
        reason = " ".join(str(status.get("error") or status["status"]).split())
        return CellFailedError(f"cell {key}: {reason}; its log is {study / key / LOG}")
    if name is None:
        return math.nan
    rows = tables.read(study / key / LEVELS_FILE).to_pylist()
    name = column(name, headline_of(rows[0]))
    check_column(name, cell.config["dataset"]["name"], rows[0])
    if status["status"] == DIVERGED:
        return next((worst for score, worst in _WORST.items() if name.endswith(score)), math.nan)
    (value,) = (row[name] for row in rows if row["arm"] == TICKET and row["level"] == status["level"])
    return math.nan if value is None else float(value)
