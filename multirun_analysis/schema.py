"""What a study holds on disk: the files of a cell, their columns and the states a cell can be in.

The names here are the contract with the engine that writes the records (docs/architecture.md, "Records").
"""

import pyarrow as pa

# Version of the record format that this analysis reads.
SCHEMA = 1

# A cell's folder is named by its key; every other name in a study folder is something else.
KEY = r"[0-9a-f]{16}"

# States whose finished levels are averaged over: their numbers are sound, as far as they go.
COUNTED = ("done", "running")

# States whose numbers are shown one cell at a time and never averaged over.
STOPPED = ("failed", "diverged")

# The engine writes the first five; `unreadable` is given here to a cell whose records cannot be read.
STATUSES = ("done", "running", "pending", "failed", "diverged", "unreadable")

_SCORES = [f"{split}_{what}" for split in ("train", "val", "test") for what in ("loss", "accuracy")]

# `evaluations.parquet`: one row for each (arm, draw, level, evaluation).
EVALUATIONS = pa.schema(
    [
        ("arm", pa.string()),
        ("draw", pa.int64()),
        ("level", pa.int64()),
        ("weights_remaining", pa.int64()),
        ("weights_total", pa.int64()),
        ("epoch", pa.float64()),
        ("iteration", pa.int64()),
        *((score, pa.float64()) for score in _SCORES),
        ("lr", pa.float64()),
        ("seconds", pa.float64()),
    ]
)

# `levels.parquet`: one row for each (arm, draw, level). Iterations that may be null are read as floats.
LEVELS = pa.schema(
    [
        ("arm", pa.string()),
        ("draw", pa.int64()),
        ("level", pa.int64()),
        ("weights_remaining", pa.int64()),
        ("weights_total", pa.int64()),
        ("iterations", pa.int64()),
        *((f"final_{score}", pa.float64()) for score in _SCORES),
        ("best_iteration", pa.float64()),
        ("best_val_accuracy", pa.float64()),
        ("best_test_accuracy", pa.float64()),
        ("early_stop_iteration", pa.float64()),
        ("early_stop_val_loss", pa.float64()),
        ("early_stop_test_accuracy", pa.float64()),
        ("layers", pa.list_(pa.string())),
        ("layer_remaining", pa.list_(pa.int64())),
        ("layer_total", pa.list_(pa.int64())),
        ("seconds", pa.float64()),
    ]
)

# Record columns that a config value of the same name would hide: the measured ones take another name.
RENAMED = {"lr": "lr_now", "iterations": "iterations_trained"}

# Columns of the cells table that are not config values.
CELL_COLUMNS = ("key", "status", "reason", "level", "seconds")

# Every column of a tidy table that is not a config value.
RECORD_COLUMNS = frozenset(
    {RENAMED.get(name, name) for name in (*EVALUATIONS.names, *LEVELS.names)} | {*CELL_COLUMNS, "remaining", *_SCORES}
)
