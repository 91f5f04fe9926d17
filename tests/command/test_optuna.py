"""A search by Hydra's Optuna sweeper: what it reads of a cell is in the cell's records, and no test score."""

import math

import pandas as pd
import pytest
import yaml

from ltsweep.grid.cell import Cell
from ltsweep.grid.objective import OBJECTIVES
from ltsweep.grid.objective import column as column_of
from ltsweep.run.objective import outcome
from ltsweep.schema import LEVELS

# An initialization that is well on the small network which every choice is tried on, and fails on the real one.
BAD = """
import torch


def draw(shape, rng):
    if shape[0] == 300:
        raise ArithmeticError("no luck")
    return torch.zeros(*shape)
"""

# Optuna 2 imports SQLAlchemy by a name of before version 2: noise of that package, and silent outside pytest.
pytestmark = pytest.mark.filterwarnings("ignore:The ``declarative_base:DeprecationWarning")

SEARCH = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.direction=maximize", "hydra.sweeper.sampler.seed=1")


@pytest.fixture
def quick(small):
    return (*small, "levels=1", "iterations=5")


def last(folder, column="best_val_accuracy"):
    """Return a column of the ticket at a cell's last level, read without the package."""
    levels = folder.levels
    return levels[(levels["arm"] == "ticket") & (levels["level"] == levels["level"].max())][column].item()


def results(study):
    return yaml.safe_load((study.path / "optimization_results.yaml").read_text())


def refused(command, *arguments):
    """Return the one line with which the command refuses, having written nothing."""
    ended = command.inside(*arguments, code=2)
    assert ended.err.count("\n") == 1, ended.err
    assert ended.out == ""
    assert list(command.folder.iterdir()) == []
    return ended.err


def test_the_best_trial_is_the_best_of_the_records(command, quick):
    """In a process of its own, which shows that stderr stays empty."""
    arguments = (*SEARCH, *quick, "hydra.sweeper.n_trials=4", "lr=interval(1e-4,1e-1)")
    ended = command(*arguments, "init=choice(xavier_u,kaiming_n)", "workers=1")
    study = command.study()
    scores = {key: last(folder) for key, folder in study.cells().items()}
    found = results(study)
    assert len(scores) == 4
    assert found["best_value"] == max(scores.values())
    assert set(found["best_params"]) == {"lr.value", "init"}
    best = study.cell(lr=found["best_params"]["lr.value"], init=found["best_params"]["init"])
    assert last(best) == found["best_value"]
    assert ended.out.count("2 cells, 2 to compute") == 2  # a batch is a launch


def test_another_objective_and_a_batch_as_one_stack(command, quick):
    # Seeded: two trials of one rate would be one cell.
    few = ("hydra.sweeper.n_trials=2", "hydra.sweeper.sampler.seed=0")
    arguments = ("-m", "hydra/sweeper=optuna", *few, *quick, "objective=final_train_loss")
    command.inside(*arguments, "lr=range(0.001,0.01,step=0.001)")
    cells = command.study().cells().values()
    assert results(command.study())["best_value"] == min(last(folder, "final_train_loss") for folder in cells)
    assert all("in a stack of 2" in folder.log for folder in cells)


def test_parameters_of_a_yaml_may_be_numbers_for_a_group(command, quick):
    folder = command.folder / "own/experiment"
    folder.mkdir(parents=True)
    (folder / "search.yaml").write_text(
        "# @package _global_\n"
        "hydra:\n  sweeper:\n    direction: maximize\n    n_trials: 2\n"
        "    params:\n      lr: tag(log,interval(1e-4,1e-1))\n      prune_rate: choice(0.1,0.2)\n"
    )
    arguments = ("--config-dir=own", "+experiment=search", "hydra/sweeper=optuna", *quick)
    command.inside(*arguments)
    assert set(results(command.study())["best_params"]) == {"lr.value", "prune_rate.value"}
    command.inside(*arguments, "hydra/launcher=basic", "study=basic")
    assert results(command.study("basic"))["best_value"] == max(
        last(folder) for folder in command.study("basic").cells().values()
    )


def test_the_grid_takes_such_parameters_too(command, quick):
    folder = command.folder / "own/experiment"
    folder.mkdir(parents=True)
    (folder / "rates.yaml").write_text("# @package _global_\nhydra:\n  sweeper:\n    params:\n      lr: 1e-3,1e-2\n")
    command.inside("--config-dir=own", "+experiment=rates", *quick)
    assert {cell.config["lr"]["value"] for cell in command.study().cells().values()} == {1e-3, 1e-2}


@pytest.mark.parametrize("column", [name for name in LEVELS if "test" in name])
def test_a_test_score_is_no_objective(command, quick, column):
    assert "test data" in refused(command, *quick, f"objective={column}")


@pytest.mark.parametrize("column", ["arm", "layers", "level", "nosuch"])
def test_an_objective_is_a_number_of_the_records(command, quick, column):
    said = refused(command, *quick, f"objective={column}")
    assert all(name in said for name in (column, *OBJECTIVES))


def test_an_objective_of_another_problem(command, quick):
    said = refused(command, *SEARCH, *quick, "objective=best_val_return", "lr=choice(0.1,0.01)")
    assert "objective=best_val_return: dataset=digits has no such score; take one of best_val, " in said


def test_a_misspelt_objective(command, quick):
    assert "did you mean best_val_accuracy?" in refused(command, *quick, "objective=best_val_acuracy")


@pytest.mark.parametrize("validation", ["0", "choice(0,100)"])
def test_no_validation_no_objective(command, quick, validation):
    """A grid with validation=0 reads no objective, so it runs."""
    arguments = (*quick, "hydra.sweeper.n_trials=8", f"validation={validation}")
    assert "best_val" in refused(command, *SEARCH, *arguments)
    assert "validation=0" in refused(command, *SEARCH, *arguments, "hydra.sweeper.n_jobs=8")
    command.inside(*quick, "validation=0", "hydra/sweeper=grid")
    command.inside(*quick, "validation=0", "hydra/sweeper=basic")


@pytest.mark.parametrize("settings", ["study=choice(a,b)", "study=../x", "device=choice(cpu,cuda)", "objective=a,b"])
def test_a_search_has_one_of_each_setting(command, settings):
    said = refused(command, *SEARCH, "dataset=digits", "levels=0", settings)
    assert settings.split("=")[0] in said


@pytest.mark.parametrize("setting", ["hydra.launcher.wait=false", "hydra.launcher.dry_run=true"])
def test_a_search_waits_for_its_scores(command, quick, setting):
    assert "hydra.launcher.wait=true" in refused(command, *SEARCH, *quick, "hydra/launcher=slurm", setting)


def test_an_interval_that_is_none(command, quick):
    assert "optuna" in refused(command, *SEARCH, *quick, "lr=interval(0.1,0.01)")
    assert "optuna" in refused(command, *quick, "lr=interval(0.01,0.1)")


def test_a_diverged_trial_is_the_worst(command, quick):
    command.inside(*SEARCH, *quick, "optimizer=sgd", "iterations=40", "hydra.sweeper.n_trials=2", "lr=choice(1000,900)")
    (key, *_) = command.study().cells()
    assert set(command.study().statuses().values()) == {"diverged"}
    assert results(command.study())["best_value"] == 0
    folder = command.study().cells()[key]
    assert outcome(command.study().path, Cell(folder.config, key), folder.status, "final_val_loss") == math.inf


def test_a_failed_trial_ends_the_search(command, quick, monkeypatch):
    (command.folder / "own/init").mkdir(parents=True)
    (command.folder / "bad_init.py").write_text(BAD)
    (command.folder / "own/init/bad.yaml").write_text("name: bad\n_target_: bad_init.draw\n_partial_: true\n")
    monkeypatch.syspath_prepend(command.folder)
    arguments = ("--config-dir=own", *SEARCH, *quick, "hydra.sweeper.n_trials=1", "init=bad", "lr=choice(0.1,0.01)")
    ended = command.inside(*arguments, code=1)
    assert "no luck" in ended.err.splitlines()[-1]
    assert "Traceback" not in ended.err


def test_objectives_are_columns_without_nulls(command, quick):
    """Every objective of a cell with validation data is a number."""
    command.inside(*quick)
    (folder,) = command.study().cells().values()
    for name in (name for name in OBJECTIVES if column_of(name, "accuracy") in LEVELS):
        value = outcome(command.study().path, Cell(folder.config, folder.path.name), folder.status, name)
        assert isinstance(value, float)
        assert not math.isnan(value)
        assert pd.isna(value) == pd.isna(last(folder, column_of(name, "accuracy")))
