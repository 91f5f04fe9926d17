"""Games through the real command: what it records and shows, and what a kill in the middle of a level leaves."""

import json
import math
import os
import re
import signal

import pandas as pd
import pytest
from safetensors import SafetensorError, safe_open

from ltsweep.errors import UserError
from ltsweep.grid.cell import Cell
from ltsweep.grid.flat import flatten
from ltsweep.run.objective import outcome
from multirun_analysis import metrics
from multirun_analysis.__main__ import main
from multirun_analysis.load import load

# Two cells as one stack, on 8 games of 4 steps: an epoch of 30 updates, and a checkpoint at its end.
CELLS = ("dataset=cartpole", "dataset.updates=30", "dataset.episodes=10", "validation=10", "model=mlp", "batch_size=32")
HOW = ("model.hidden=[16]", "init=pytorch", "lr=3e-3", "epochs=2", "device=cpu", "workers=1", "stack_size=8")
GRID = ("-m", "seed=0,1", "levels=1", "method.controls=[reinit]", *CELLS, *HOW)


@pytest.fixture(scope="module")
def whole(command_in, tmp_path_factory):
    """Return the command of a folder with the whole study, and what it printed."""
    command = command_in(tmp_path_factory.mktemp("control"))
    return command, command.inside(*GRID)


def test_the_records_are_those_of_games(whole):
    command, ended = whole
    assert "test return" in ended.out
    for cell in command.study().cells().values():
        rows, levels = cell.evaluations, cell.levels
        scores = ["train_loss", "train_return", "val_return", "test_return", "steps", "games"]
        assert [name for name in rows if name.endswith(("loss", "return", "steps", "games"))] == scores
        assert list(rows[rows["level"] == 0]["iteration"]) == [0, 30, 60]
        assert list(rows[rows["level"] == 0]["steps"]) == [32 * step for step in (0, 30, 60)]
        assert rows[rows["iteration"] > 0]["games"].min() > 0
        assert rows[["train_loss", "val_return", "test_return"]].notna().all(axis=None)
        assert not [name for name in levels if "early_stop" in name or "accuracy" in name]
        for _, level in levels.iterrows():
            own = rows[(rows["level"] == level["level"]) & (rows["arm"] == level["arm"])]
            assert level["best_val_return"] == own["val_return"].max()
            assert level["final_test_return"] == own["test_return"].iloc[-1]
        first = rows[rows["iteration"] == 0].set_index(["level", "arm"])["test_return"]
        assert first[1, "ticket"] != first[1, "reinit"]  # other weights, the same episodes
        assert re.search(r"level  0  remaining 100\.00%  train loss -?\d\.\d{4}  test return \d+\.\d\n", cell.log)


def test_a_study_killed_in_the_middle_of_a_level_ends_with_the_same_bits(whole, command):
    def at():
        """Return the level and the step of the checkpoint, before all where there is none."""
        for path in command.study().path.glob(".stacks/*.safetensors"):
            try:
                with safe_open(path, framework="numpy") as file:
                    facts = json.loads(json.loads(file.metadata()["checkpoint"])["facts"])
                    return facts["level"], facts["step"]
            except (OSError, SafetensorError):
                pass
        return -1, 0

    process = command.start(*GRID, "checkpoint_every=0.02")
    command.until(process, lambda: at() > (1, 2))
    os.killpg(process.pid, signal.SIGKILL)
    command.wait(process)
    level, step = at()
    assert (level, step % 30 != 0) == (1, True)
    command.inside(*GRID)
    assert all("starts in level 1" in cell.log for cell in command.study().cells().values())
    command.study().assert_same_records(whole[0].study())


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (("batch_size=30",), "batch_size=30 is not divisible by dataset.horizon=4"),
        (("stop=at_accuracy",), "stop.score=test_accuracy is unknown; choose one of train_loss, train_return, "),
        (("measure=[connectivity]",), "measure.connectivity reads test_accuracy; there are train_loss, train_return"),
        (("dataset.passes=abc",), "dataset.passes=abc is out of range: it is a whole number from 0 to 100"),
        (("dataset.passes=-1",), "dataset.passes=-1 is out of range: it is a whole number from 0 to 100"),
        (("objective=best_val_accuracy",), "objective=best_val_accuracy: dataset=cartpole has no such score"),
    ],
)
def test_what_games_have_not_is_one_line(command, overrides, says):
    ended = command.inside("levels=0", *CELLS, *HOW, *overrides, code=2)
    assert ended.err.startswith(f"ltsweep: {says}")
    assert ended.err.count("\n") == 1
    assert not (command.folder / "multirun").exists()


def test_a_picture_model_is_one_line(command):
    ended = command.inside("dataset=acrobot", "model=lenet5", "levels=0", code=2)
    assert ended.err.startswith("ltsweep: model.input_shape=[6] is not that of pictures")
    assert ended.err.count("\n") == 1


def test_measurements_methods_and_no_validation(command):
    """Lengths and gradients look at the first games of a level; SNIP prunes by the loss of such games."""
    game = ("dataset=acrobot", "dataset.limit=20", "dataset.episodes=3", "validation=0", "batch_size=8")
    measured = ("measure=[lengths,gradients]", "method=snip", "levels=1", "iterations=2")
    command.inside(*game, "model=mlp", *HOW, *measured)
    (cell,) = command.study().cells().values()
    assert cell.levels["best_val_return"].isna().all()
    assert cell.evaluations["val_return"].isna().all()
    assert set(cell.evaluations["test_return"]) == {-20.0}
    assert math.prod(cell.levels["weights_remaining"]) > 0


def test_an_environment_is_a_column_and_an_objective_that_games_lack_one_line(whole):
    command, _ = whole
    (key, folder), *_ = command.study().cells().items()
    cell = Cell(folder.config, key)
    assert flatten(cell.config)["dataset.environment"] == "CartPole"
    assert outcome(command.study().path, cell, folder.status, "best_val") == folder.levels["best_val_return"].iloc[-2]
    diverged = {**folder.status, "status": "diverged"}
    worst = [outcome(command.study().path, cell, diverged, name) for name in ("best_val", "final_train_loss")]
    assert worst == [-math.inf, math.inf]
    with pytest.raises(UserError, match="dataset=cartpole has no such score; take one of best_val, "):
        outcome(command.study().path, cell, folder.status, "final_val_accuracy")


def test_a_grid_of_pictures_and_games_packs_goes_on_and_is_drawn(command, tmp_path, capsys):
    """Cells of a data set make a stack; more levels leave what was computed; each data set has its own headline."""
    grid = ("-m", "dataset=digits,cartpole", "seed=0,1", "model=mlp", "model.hidden=[16]", "batch_size=32")
    how = ("iterations=20", "evaluate_every=20", "validation=10", "device=cpu", "workers=1", "study=mixed")
    assert "  stacks  2 on 1 worker (cpu): 2 of 2 cells\n" in command.inside(*grid, *how, "dry_run=true").out
    command.inside(*grid, *how, "levels=1")
    study = command.study("mixed")
    before = {key: cell.evaluations for key, cell in study.cells().items()}
    command.inside(*grid, *how, "levels=2")
    for key, cell in study.cells().items():
        assert cell.levels_logged() == [[0, 1], [2]]
        pd.testing.assert_frame_equal(cell.evaluations.head(len(before[key])), before[key])
    assert main([str(study.path), "--figures", "accuracy_vs_remaining", "--report", "--out", str(tmp_path)]) == 0
    assert "4 cells: 4 done" in capsys.readouterr().out
    assert (tmp_path / "accuracy_vs_remaining.png").is_file()
    loaded = load(study.path)
    headlines = loaded.cells.drop_duplicates("dataset").set_index("dataset")["headline"].to_dict()
    assert headlines == {"cartpole": "return", "digits": "accuracy"}
    assert [part.name for part in metrics.parts(loaded.levels)] == ["test accuracy", "test return, dataset=cartpole"]
