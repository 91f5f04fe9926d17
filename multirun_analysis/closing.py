"""What a study's figures do not show, in words: which cells are missing, failed or diverged, and why."""

import pandas as pd

from multirun_analysis.schema import COUNTED, STATUSES
from multirun_analysis.view import label, varying

_ROWS = 20


def troubled(cells: pd.DataFrame) -> pd.DataFrame:
    """List the cells with a reason, the worst first: `key, status, cell` (what sets it apart)`, reason`."""
    apart = tuple(name for name in (*varying(cells), "seed") if name in cells)
    worst_first = pd.Categorical(cells["status"], STATUSES[::-1], ordered=True)
    return (
        cells.assign(cell=_set_apart(cells, apart), _worst=worst_first)
        .query("reason != ''")
        .sort_values(["_worst", "key"])[["key", "status", "cell", "reason"]]
    )


def table(cells: pd.DataFrame) -> str:
    """Write the counts of cells by status, and a line for each cell with a reason (the first twenty)."""
    counts = cells["status"].value_counts()
    shown = troubled(cells)
    lines = [
        f"{len(cells)} cell{'s' if len(cells) > 1 else ''}: "
        + ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
    ]
    if len(shown):
        key_width = max(16, *(len(key) for key in shown["key"].head(_ROWS)))
        width = max(4, *(len(cell) for cell in shown["cell"].head(_ROWS)))
        lines.append(f"  {'key':{key_width}}  {'status':10}  {'cell':{width}}  reason")
        lines += [
            f"  {key:{key_width}}  {status:10}  {cell:{width}}  {reason}"
            for key, status, cell, reason in shown.head(_ROWS).itertuples(index=False)
        ]
    if len(shown) > _ROWS:
        lines.append(f"  ... and {len(shown) - _ROWS} more")
    return "\n".join(lines)


def note(cells: pd.DataFrame) -> str:
    """Say in a sentence which cells the means of a figure lack, wholly or from a level on; empty if none."""
    counts = cells["status"].value_counts()
    lost = [status for status in STATUSES if status not in COUNTED and counts[status]]
    lacking = [f"{counts[status]} {status}" for status in lost]
    if counts["running"]:
        lacking.append(f"{counts['running']} running (but for finished levels)")
    return f"Of {len(cells)} cells the means lack {', '.join(lacking)}." if lacking else ""


def _set_apart(cells: pd.DataFrame, columns: tuple[str, ...]) -> pd.Series:
    names = [label(cells, (name,)).astype("str").radd(f"{name}=") for name in columns]
    return pd.concat(names, axis=1).agg(" ".join, axis=1) if names else pd.Series("", index=cells.index)
