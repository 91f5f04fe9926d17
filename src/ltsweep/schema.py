"""The contract of engine, store and analysis: what a study on the disk is made of, by name. Imports nothing.

multirun/<study>/<key>/config.yaml                    the resolved config
                       status.json                    status, last finished level, checksums of the other files
                       evaluations.parquet            one row for each (arm, draw, level, evaluation)
                       levels.parquet                 one row for each (arm, draw, level)
                       readings.parquet               one row for each reading of a measurement, if any was asked for
                       tickets/init.safetensors       the initial weights
                       tickets/level_03.safetensors   the mask of level 3, one bit a weight: with which it began or,
                                                      where scores are trained, which it learned
                       tickets/weights_00_500.safetensors
                                                      the ticket's weights after step 500 of level 0, if a method asks;
                                                      with their scores, where scores are trained in place of weights
                       cell.log
                       .broken/                       files that were not what had been written
"""

# Version of the record format. It enters every key: raise it when the same config gives other records than before.
VERSION = 2

# Versions that are read: those before VERSION by what shows a study, never to go on from.
READABLE = (1, 2)

# Dotted names of the config that say how far a cell goes, and what is trained beside the ticket: no level is another by
# them. From version 2 on they are not in the key, so that a cell grows; status.json has what there is of it, by arm.
EXTENT = ("levels", "method.controls", "method.draws")

# A cell's folder is named by its key; every other name in a study's folder is something else. So are stacks named.
KEY = r"[0-9a-f]{16}"

# Most prunings of a cell: the number of a level has up to four digits.
MOST_LEVELS = 1_000

# Names of files and folders within a cell's folder.
CONFIG = "config.yaml"
STATUS = "status.json"
LOG = "cell.log"
TICKETS = "tickets"
INITIAL = f"{TICKETS}/init.safetensors"
BROKEN = ".broken"

# Names of the files and folders of a study beside its cells: stacks in the middle of a level, functions of the user's
# own, what was handed to Slurm, and what a closed terminal did not take.
STACKS = ".stacks"
SOURCES = ".sources"
SUBMITTED = ".submitit"
STUDY_LOG = "study.log"

# Statuses of a cell, as status.json has them.
PENDING = "pending"
RUNNING = "running"
DONE = "done"
FAILED = "failed"
DIVERGED = "diverged"
STATUSES = (DONE, RUNNING, PENDING, FAILED, DIVERGED)
FINISHED = (DONE, DIVERGED)  # nothing is left to compute
ENDED = (*FINISHED, FAILED)  # nothing is being computed; the same command tries a failed cell again

# What is trained at a level: the ticket, or a control that shares its number of weights in every layer.
TICKET = "ticket"
REINIT = "reinit"
RANDOM_MASK = "random_mask"
TWIN = "twin"  # the ticket once more, on batches of its own order

# Before the name of a weight: its score, among the tensors of a file of weights.
SCORE_OF = "scores/"

# An arm as status.json names it: what is trained, and the number of its draw.
ARM = r"[^/]{1,100}/[0-9]{1,6}"
TICKET_ARM = f"{TICKET}/0"

# Fields of status.json on level 0, where it is the dense network: what cells with the same one have in common, and the
# key of the cell that trained it, where this one took it over.
DENSE_KEY = "dense_key"
DENSE_OF = "dense_of"

SPLITS = ("train", "val", "test")
SCORES = tuple(f"{split}_{score}" for split in SPLITS for score in ("loss", "accuracy"))

_ARM = {"arm": "string", "draw": "int64", "level": "int64", "weights_remaining": "int64", "weights_total": "int64"}

# Columns of the tables, in order: name -> type, of Arrow's names.
EVALUATIONS = {
    **_ARM,
    "epoch": "float64",
    "iteration": "int64",
    **dict.fromkeys(SCORES, "float64"),
    "lr": "float64",
    "seconds": "float64",
}
LEVELS = {
    **_ARM,
    "iterations": "int64",
    **{f"final_{score}": "float64" for score in SCORES},
    "best_iteration": "int64",
    "best_val_accuracy": "float64",
    "best_test_accuracy": "float64",
    "early_stop_iteration": "int64",
    "early_stop_val_loss": "float64",
    "early_stop_test_accuracy": "float64",
    "seconds": "float64",
    "layers": "list<string>",
    "layer_remaining": "list<int64>",
    "layer_total": "list<int64>",
}
READINGS = {
    "arm": "string",
    "draw": "int64",
    "level": "int64",
    "iteration": "int64",
    "name": "string",  # of what was measured: norm, distance, sign_changes
    "place": "string",  # where in the network: a layer, or nothing for the whole
    "at": "float64",  # a number along an axis of the measurement's own, or null
    "value": "float64",
}
# Columns that may be null: no step was taken, the training set was not scored, nothing was held out, a reading is of no
# place or point. No other may.
NULLABLE = (
    "lr",
    *(name for name in (*EVALUATIONS, *LEVELS) if name.removeprefix("final_").startswith("train_")),
    *(name for name in LEVELS if name.startswith(("best_", "early_stop_"))),
    "place",
    "at",
    "value",
)
TABLES = {"evaluations.parquet": EVALUATIONS, "levels.parquet": LEVELS, "readings.parquet": READINGS}
EVALUATIONS_FILE, LEVELS_FILE, READINGS_FILE = TABLES

# Names of the config that say where and how the work is done: they decide no draw, at most the device and the size of a
# stack, and so the rounding. They stay out of the key.
SETTINGS = (
    "study",
    "data_dir",
    "device",
    "workers",
    "stack_size",
    "checkpoint_every",
    "force",
    "dry_run",
    "objective",
    "max_cells",
    "measure",
    "hydra",
)

# What status.json may note: the files of a cell, and no others.
FILES = "|".join(
    (
        CONFIG,
        *TABLES,
        INITIAL,
        f"{TICKETS}/level_[0-9]{{2,4}}.safetensors",
        f"{TICKETS}/weights_[0-9]{{2,4}}_[0-9]{{1,10}}.safetensors",
    )
).replace(".", r"\.")

# Groups that are known by a number: `lr=0.1` means `lr.value=0.1`.
NUMBERED = ("lr", "prune_rate")


def ticket_file(level: int) -> str:
    """Return the name of the file of a level's mask."""
    return f"{TICKETS}/level_{level:02d}.safetensors"


def weights_file(level: int, step: int) -> str:
    """Return the name of the file of the ticket's weights after a step of a level."""
    return f"{TICKETS}/weights_{level:02d}_{step}.safetensors"


def is_weights_file(name: str) -> bool:
    """Return whether a file of a cell holds weights that a method keeps."""
    return name.startswith(f"{TICKETS}/weights_")
