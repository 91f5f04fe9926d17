"""What the analysis adds to the contract of `ltsweep.schema`: groups of statuses, and columns of its own tables."""

from collections.abc import Iterable

from ltsweep import schema

# The status of a cell whose records cannot be read. The engine writes the others; this one is given by `load`.
UNREADABLE = "unreadable"

# All statuses, from the best to the worst.
STATUSES = (*schema.STATUSES, UNREADABLE)

# Cells whose finished levels are averaged: their numbers are sound as far as they go.
COUNTED = (schema.DONE, schema.RUNNING)

# Cells whose numbers are shown one cell at a time and never averaged.
STOPPED = (schema.FAILED, schema.DIVERGED)

# Cells that may still change while a command trains the study.
UNENDED = (schema.RUNNING, schema.PENDING)

# Measured columns that a config value of the same name would hide, and what they are called instead.
RENAMED = {"lr": "lr_now", "iterations": "iterations_trained"}

# Whole numbers that are null where no examples were held out. Floats always, so that the type of an exported column
# does not depend on the data.
NULLABLE = ("best_iteration", "early_stop_iteration")

# The column of each cell's headline: the score whose best validation value marks its best model, as `accuracy`.
HEADLINE = "headline"

# Columns of the cells table that are not config values.
CELL_COLUMNS = ("key", "status", "reason", "level", "seconds", HEADLINE)

# The words of a reason: functions of the user's own were not the same for all cells.
OTHER_CODE = "made with other code"

# A column that tells apart configs which no other column does: a hash of the whole, but for the seed.
CONFIG_COLUMN = "config"

# Columns that `lengths.with_metrics` adds to the levels table, natural logs, which a claim can be about.
LENGTHS = ("log_length_growth", "log_length_variance", "log_length_variation")

# Columns that `runs.with_metrics` adds: the share of a trained network's tensors, by kind, that are rejected as random.
REJECTED = ("runs_rejected_conv", "runs_rejected_fc", "runs_rejected_norm")

# The column that `epochs.with_metrics` adds: whether a network was at the score that ends its level.
REACHED = "score_reached"

# Columns of tidy tables that are not config values, beside those of scores.
_RECORDS = frozenset(
    {RENAMED.get(name, name) for columns in schema.TABLES.values() for name in columns}
    | {*CELL_COLUMNS, "remaining", *schema.COUNTS, *LENGTHS, *REJECTED, REACHED}
)


def is_record(name: str) -> bool:
    """Return whether a column of a tidy table is not a config value."""
    own = name.removeprefix("final_").removeprefix("best_").removeprefix("early_stop_")
    return name in _RECORDS or own in schema.COUNTS or schema.SCORE.fullmatch(own) is not None


def ticket_first(arms: Iterable[object]) -> list[str]:
    """Return the names of arms in alphabetical order, but the ticket before its controls."""
    return sorted(map(str, arms), key=lambda arm: (arm != schema.TICKET, arm))
