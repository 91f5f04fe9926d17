"""The contract of engine, store and analysis: what a study on the disk is made of, by name. Imports nothing of ours.

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

import re
from collections.abc import Iterable, Sequence

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

# Columns of an evaluation that say what was measured: the scores of a problem, `{split}_{score}`, and what it counts.
SCORE = re.compile(rf"({'|'.join(SPLITS)})_[a-z][a-z0-9_]*")
COUNTS = ("steps", "games")

# Of classification.
SCORES = tuple(f"{split}_{score}" for split in SPLITS for score in ("loss", "accuracy"))

_ARM = {"arm": "string", "draw": "int64", "level": "int64", "weights_remaining": "int64", "weights_total": "int64"}


def evaluation_columns(scores: Sequence[str]) -> dict[str, str]:
    """Return the columns of a table of evaluations, in order: name -> type, of Arrow's names.

    scores: names of what a problem measures, in order.
    """
    measured = {score: "int64" if score in COUNTS else "float64" for score in scores}
    return {**_ARM, "epoch": "float64", "iteration": "int64", **measured, "lr": "float64", "seconds": "float64"}


def level_columns(scores: Sequence[str], headline: str) -> dict[str, str]:
    """Return the columns of a table of levels, as `evaluation_columns`: with early stops where validation has a loss.

    headline: the score by which validation chooses.
    """
    best = {"best_iteration": "int64", f"best_val_{headline}": "float64", f"best_test_{headline}": "float64"}
    early = {
        "early_stop_iteration": "int64",
        "early_stop_val_loss": "float64",
        f"early_stop_test_{headline}": "float64",
    }
    return {
        **_ARM,
        "iterations": "int64",
        **{f"final_{score}": "int64" if score in COUNTS else "float64" for score in scores},
        **best,
        **(early if "val_loss" in scores else {}),
        "seconds": "float64",
        "layers": "list<string>",
        "layer_remaining": "list<int64>",
        "layer_total": "list<int64>",
    }


EVALUATIONS = evaluation_columns(SCORES)
LEVELS = level_columns(SCORES, "accuracy")
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
# The tables of a cell of classification. Those of other problems differ in the scores.
TABLES = {"evaluations.parquet": EVALUATIONS, "levels.parquet": LEVELS, "readings.parquet": READINGS}
EVALUATIONS_FILE, LEVELS_FILE, READINGS_FILE = TABLES


def is_nullable(name: str) -> bool:
    """Return whether a column of a table may be null.

    No step was taken, the training set was not scored, nothing was held out, or a reading is of no place or point.
    """
    starts = ("train_", "final_train_", "best_", "early_stop_")
    return name in ("lr", "place", "at", "value") or name.startswith(starts)


def scores_of(names: Iterable[str]) -> tuple[str, ...]:
    """Return what a problem measures, in order, by the columns of a table of evaluations or of levels.

    Raises ValueError where no problem has such scores: all splits have the same, but for a training loss, by which a
    cell diverges and which each problem has.
    """
    there = {name.removeprefix("final_"): None for name in names}
    found = [name for name in there if SCORE.fullmatch(name) or name in COUNTS]
    on = [{name.removeprefix(f"{split}_") for name in found if name.startswith(f"{split}_")} for split in SPLITS]
    counted = [name for name in COUNTS if name in there]
    if not on[1] or on[1] != on[2] or on[0] != on[1] | {"loss"} or len(counted) not in (0, len(COUNTS)):
        raise ValueError("these are not the scores of a problem")
    return tuple(sorted(found, key=lambda name: SCORES.index(name) if name in SCORES else len(SCORES)))


def headline_of(names: Iterable[str]) -> str:
    """Return the score by which validation chooses, by the columns of a table of levels: its one `best_test_*`.

    Raises ValueError where there is none, or more.
    """
    (found,) = (name.removeprefix("best_test_") for name in names if name.startswith("best_test_"))
    return found


def columns_of(file: str, names: Iterable[str]) -> dict[str, str]:
    """Return the columns that the table `file` is to have, by those that it has. Raises ValueError for no problem's."""
    names = list(names)
    if file == READINGS_FILE:
        return READINGS
    scores = scores_of(names)
    if file == EVALUATIONS_FILE:
        return evaluation_columns(scores)
    if f"val_{headline_of(names)}" not in scores:
        raise ValueError("validation has no such score")
    return level_columns(scores, headline_of(names))


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
