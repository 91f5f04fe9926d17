"""What a study holds on disk: the files of a cell, their columns and the states a cell can be in.

The names here are the contract with the engine that writes the records (docs/architecture.md, "Records").
"""

import pyarrow as pa

SCHEMA = 1
"""Version of the record format that this analysis reads."""

KEY = r"[0-9a-f]{16}"
"""A cell's folder is named by its key; every other name in a study folder is something else."""

COUNTED = ("done", "running")
"""States whose finished levels are averaged over: their numbers are sound, as far as they go."""

STOPPED = ("failed", "diverged")
"""States whose numbers are shown one cell at a time and never averaged over."""

STATUSES = ("done", "running", "pending", "failed", "diverged", "unreadable")
"""The engine writes the first five; `unreadable` is given here to a cell whose records cannot be read."""

_SCORES = [f"{split}_{what}" for split in ("train", "val", "test") for what in ("loss", "accuracy")]

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
"""`evaluations.parquet`: one row for each (arm, draw, level, evaluation)."""

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
"""`levels.parquet`: one row for each (arm, draw, level). Iterations that may be null are read as floats."""

RENAMED = {"lr": "lr_now", "iterations": "iterations_trained"}
"""Record columns that a config value of the same name would hide: the measured ones take another name."""

CELL_COLUMNS = ("key", "status", "reason", "level", "seconds")
"""Columns of the cells table that are not config values."""

RECORD_COLUMNS = frozenset(
    {RENAMED.get(name, name) for name in (*EVALUATIONS.names, *LEVELS.names)} | {*CELL_COLUMNS, "remaining", *_SCORES}
)
"""Every column of a tidy table that is not a config value."""
