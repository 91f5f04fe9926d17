"""What a search gets of a cell: its objective, or why there is none."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ltsweep.errors import CellFailedError
from ltsweep.schema import DIVERGED, FINISHED, LEVELS_FILE, LOG, TICKET
from ltsweep.store import tables


def outcome(study: Path, key: str, status: Mapping[str, Any], name: str | None) -> float | CellFailedError:
    """Return a column of the ticket at the last level of a cell, or why there is none; NaN where it is null.

    status: the fields of status.json. name: None where nobody asks, which spares reading the table; NaN then.

    A diverged cell has the worst value, since what it reached before is not a result: 0 for an accuracy, else infinity.
    """
    if status["status"] not in FINISHED:
        reason = " ".join(str(status.get("error") or status["status"]).split())
        return CellFailedError(f"cell {key}: {reason}; its log is {study / key / LOG}")
    if name is None:
        return math.nan
    if status["status"] == DIVERGED:
        return 0.0 if name.endswith("accuracy") else math.inf
    rows = tables.read(study / key / LEVELS_FILE).to_pylist()
    (value,) = (row[name] for row in rows if row["arm"] == TICKET and row["level"] == status["level"])
    return math.nan if value is None else float(value)
