"""What a study's figures do not show, in words: which cells are missing, failed or diverged, and why."""

import pandas as pd

from ltsweep.schema import RUNNING, TICKET
from ltsweep.words import shown
from multirun_analysis.schema import COUNTED, OTHER_CODE, STATUSES
from multirun_analysis.tickets import layer_name
from multirun_analysis.view import described, varying

# Cells that the closing table lists.
_ROWS = 20

# Characters of what sets a cell apart.
_MOST_TEXT = 300


def counts(cells: pd.DataFrame) -> dict[str, int]:
    """Return status -> number of cells, for the statuses that cells have, in the order of `STATUSES`."""
    found = cells["status"].value_counts()
    return {status: int(found[status]) for status in STATUSES if found[status]}


def troubled(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the cells that have a reason, the worst status first.

    Columns: `key, status, cell` (the values that set it apart)`, reason`.
    """
    apart = [name for name in (*varying(cells), "seed") if name in cells]
    worst_first = pd.Categorical(cells["status"], STATUSES[::-1], ordered=True)
    return (
        cells.assign(cell=described(cells, apart).map(lambda text: shown(text, _MOST_TEXT)), _worst=worst_first)
        .query("reason != ''")
        .sort_values(["_worst", "key"])[["key", "status", "cell", "reason"]]
    )


def table(cells: pd.DataFrame) -> str:
    """Return the counts of cells by status as text, and a line for each cell with a reason (the first twenty)."""
    listed = troubled(cells)
    by_status = ", ".join(f"{n} {status}" for status, n in counts(cells).items())
    lines = [f"{len(cells)} cell{'s' if len(cells) > 1 else ''}: {by_status}"]
    if len(listed):
        key_width = max(16, *(len(key) for key in listed["key"].head(_ROWS)))
        width = max(4, *(len(cell) for cell in listed["cell"].head(_ROWS)))
        lines.append(f"  {'key':{key_width}}  {'status':10}  {'cell':{width}}  reason")
        lines += [
            f"  {key:{key_width}}  {status:10}  {cell:{width}}  {reason}"
            for key, status, cell, reason in listed.head(_ROWS).itertuples(index=False)
        ]
    if len(listed) > _ROWS:
        lines.append(f"  ... and {len(listed) - _ROWS} more")
    return "\n".join(lines)


def caveats(cells: pd.DataFrame) -> str:
    """Return a sentence for each data set whose YAML has a `note` on its numbers; empty for none."""
    if "dataset.note" not in cells:
        return ""
    noted = cells[["dataset", "dataset.note"]].dropna().astype("str").drop_duplicates()
    return " ".join(f"{name}: {note}." for name, note in noted.sort_values("dataset").itertuples(index=False))


def bare(levels: pd.DataFrame) -> str:
    """Return a sentence on the levels at which no weights remain, which no figure shows; empty where there are none."""
    without = levels[levels["weights_remaining"].eq(0)]
    if without.empty:
        return ""
    n, least = without["key"].nunique(), without["level"].min()
    return f"Of {n} cell{'s' if n > 1 else ''} no weights remain, from level {least} on at the earliest: not shown."


def emptied(levels: pd.DataFrame) -> str:
    """Return a sentence on layers without weights in networks that have some; empty where there are none."""
    each = levels[levels["arm"].eq(TICKET) & levels["weights_remaining"].gt(0)]
    each = each[["key", "level", "layers", "layer_remaining"]].explode(["layers", "layer_remaining"])
    empty = each[each["layer_remaining"].eq(0)]
    if empty.empty:
        return ""
    n, least = empty["key"].nunique(), empty["level"].min()
    names = ", ".join(dict.fromkeys(map(layer_name, empty["layers"])))
    which = f"Of {n} cell{'s' if n > 1 else ''} a layer has no weights left ({names})"
    return f"{which}, from level {least} on at the earliest."


def note(cells: pd.DataFrame) -> str:
    """Return what the means of a figure lack, wholly or from a level on, and mix; empty for nothing."""
    by_status = counts(cells)
    lacking = [f"{n} {status}" for status, n in by_status.items() if status not in COUNTED]
    if RUNNING in by_status:
        lacking.append(f"{by_status[RUNNING]} {RUNNING} (but for finished levels)")
    said = f"Of {len(cells)} cells the means lack {', '.join(lacking)}." if lacking else ""
    other = int(cells["reason"].str.startswith(OTHER_CODE).sum())
    mixed = f"{other} cell{'s were' if other > 1 else ' was'} {OTHER_CODE} than the others." if other else ""
    return " ".join(part for part in (said, mixed) if part)
