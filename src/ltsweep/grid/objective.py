"""The objective: the one number of a cell that a search compares. Never a score on test data."""

from collections.abc import Iterable, Sequence

from omegaconf import DictConfig

from ltsweep.errors import UserError, did_you_mean
from ltsweep.grid.cell import Cell
from ltsweep.schema import LEVELS, LEVELS_FILE
from ltsweep.words import shown

# The best validation value of the score by which a data set's validation chooses: an accuracy, a loss or a return.
BEST = "best_val"

# What a search may compare: columns of levels.parquet that test data do not decide. Which of them a cell has is up to
# its data set.
OBJECTIVES = (
    BEST,
    *(
        name
        for name, kind in LEVELS.items()
        if kind in ("float64", "int64") and name not in ("draw", "level") and "test" not in name
    ),
    "best_val_loss",
    "best_val_return",
    "final_train_return",
    "final_val_return",
)

# Begins of the names of columns that are null without validation data, beside those with `val`.
_CHOSEN = ("best_", "early_stop_")

# Sweepers that do not read the objective of a job.
GRIDS = (
    "hydra_plugins.ltsweep_launcher.grid.GridSweeper",
    "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
)


def check_objective(name: object, sweeper: str, validations: Iterable[int], trains: Iterable[bool | int] = ()) -> None:
    """Raise UserError unless `name` is an objective, and, if the sweeper reads it, is not null in the cells.

    sweeper: the dotted path of its class. validations: the numbers of validation examples in the cells. trains: their
    `evaluate_train`.
    """
    allowed = f"objective is one of {', '.join(OBJECTIVES)}"
    if "test" in str(name):
        raise UserError(f"objective={shown(name)} would choose by test data, which then measure nothing; {allowed}")
    if name not in OBJECTIVES:
        raise UserError(
            f"objective={shown(name)} is not a column of {LEVELS_FILE}; {did_you_mean(str(name), OBJECTIVES)}{allowed}"
        )
    if sweeper not in GRIDS and ("val" in str(name) or str(name).startswith(_CHOSEN)) and 0 in validations:
        raise UserError(f"objective={name} is null with validation=0; take validation=N, or another objective")
    if sweeper not in GRIDS and "train" in str(name) and False in trains:
        raise UserError(f"objective={name} is null with evaluate_train=false; take evaluate_train=true")


def column(name: str, headline: str) -> str:
    """Return the column of levels.parquet that an objective names, for a data set with that headline."""
    return f"best_val_{headline}" if name == BEST else name


def check_column(name: str, dataset: str, columns: Iterable[str]) -> None:
    """Raise UserError where an objective is none of the columns of levels.parquet that a data set has."""
    if name != BEST and name not in columns:
        there = [one for one in OBJECTIVES if one in (BEST, *columns)]
        raise UserError(f"objective={name}: dataset={shown(dataset)} has no such score; take one of {', '.join(there)}")


def check_cells(cells: Sequence[Cell], config: DictConfig) -> None:
    """Raise UserError where a sweep's objective is unknown, or read but null in one of its cells."""
    validations = [cell.config["validation"] for cell in cells]
    trains = [cell.config.get("evaluate_train", True) for cell in cells]
    check_objective(config.objective, config.hydra.sweeper._target_, validations, trains)
