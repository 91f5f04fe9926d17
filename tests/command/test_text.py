"""The command on a text: its tables, its ticket, its refusals, and a study killed in the middle of a level."""

import math
import os
import signal

import pytest

from ltsweep.export import command as ticket

WORDS = "to be or not to be that is the question whether tis nobler in the mind to suffer the slings and arrows of"


@pytest.fixture
def text(tmp_path):
    """Return overrides that take a text of 20 kinds of characters in 188 + 20 windows of 8, 30 of them to validate."""
    (tmp_path / "mine.txt").write_text("".join(f"{WORDS[i % 90 :]}\n" for i in range(0, 2300, 71))[:1680])
    own = (f"dataset.file={tmp_path}/mine.txt", "dataset.sha256=null", "dataset.context=8", "validation=30")
    return ("dataset=tiny_shakespeare", *own, "dataset.num_classes=20", "init=pytorch", "device=cpu")


LSTM = ("model=lstm", "model.embedding=6", "model.hidden=6", "model.dropout=0.2")
TRANSFORMER = ("model=transformer", "model.width=8", "model.heads=2", "model.layers=1")


def test_a_text_is_learned_and_its_loss_chooses(command, text, capsys, monkeypatch):
    """A grid of one model, scope and stack; its ticket is drawn again from the seed, and timed."""
    grid = ("-m", "seed=0,1", "levels=1", "iterations=24", "evaluate_every=6", "lr=0.02", "method.scope=global")
    ended = command.inside(*grid, "prune_rate=uniform", "measure=[gradients]", *text, *LSTM)
    assert "test loss" in " ".join(ended.out.split())
    for cell in command.study().cells().values():
        assert cell.status["status"] == "done"
        rows, levels = cell.evaluations, cell.levels
        assert rows["val_loss"].iloc[0] == pytest.approx(math.log(20), rel=0.1)
        dense = rows[rows["level"] == 0]
        best = dense.loc[dense["val_loss"].idxmin()]
        first = levels.iloc[0]
        for name in ("best", "early_stop"):
            assert first[f"{name}_iteration"] == best["iteration"]
            assert (first[f"{name}_val_loss"], first[f"{name}_test_loss"]) == (best["val_loss"], best["test_loss"])
        assert dense["train_loss"].iloc[-1] < 0.95 * dense["train_loss"].iloc[0]
        assert not any(column.endswith("best_val_accuracy") for column in levels)
        mask = cell.mask(1)
        assert {name.rpartition(".")[0] for name in mask} == {
            "embedding", "lstm1.input", "lstm1.recurrent", "lstm2.input", "lstm2.recurrent", "output"
        }  # fmt: skip
    monkeypatch.chdir(command.folder)
    with pytest.raises(SystemExit) as left:
        ticket.main([f"multirun/default/{cell.path.name}@1"])
    said = capsys.readouterr().out
    assert left.value.code == 0
    assert "draws the recorded initial weights again, bit for bit" in said
    assert "batch 256" in said


def test_a_study_of_a_text_killed_in_the_middle_of_a_level_ends_with_the_same_bits(command, text):
    line = ("-m", "seed=0,1", "levels=1", "iterations=60", "evaluate_train=false", *text, *LSTM, "workers=1")
    command.inside(*line, "study=whole")
    process = command.start(*line, "checkpoint_every=0")
    stacks = command.study().path / ".stacks"
    command.until(process, lambda: any(stacks.glob("*.safetensors")))
    os.killpg(process.pid, signal.SIGKILL)
    assert command.wait(process).code == -signal.SIGKILL
    command.inside(*line)
    for cell in command.study().cells().values():
        assert "  starts in level " in cell.log
        assert cell.log.count("  test loss ") == 2  # once a level, though it stands for the training loss too
    command.study().assert_same_records(command.study("whole"))


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (("model=mlp",), "model=mlp takes numbers, and dataset=tiny_shakespeare has tokens; model=lstm and "),
        (("model=lenet5",), "model.input_shape=[8] is not that of pictures"),
        ((*LSTM, "dataset=cartpole"), "model=lstm takes tokens, and dataset=cartpole has numbers"),
        ((*LSTM, "dataset=digits"), "model.input_shape=[1, 8, 8] is not that of a text"),
        ((*TRANSFORMER, "model.heads=3"), "model.heads=3 does not divide model.width=8"),
        ((*LSTM, "dataset.input_shape=[9]"), "dataset=tiny_shakespeare: input_shape is [9], the train files hold [8]"),
        ((*LSTM, "dataset.num_classes=19"), "dataset=tiny_shakespeare: train labels run to 19, num_classes is 19"),
        ((*LSTM, "+dataset.augment=[crop]"), "dataset: characters() got an unexpected keyword argument 'augment'"),
        ((*LSTM, "method=synflow"), "method.score=synflow needs an input of ones, and a model that begins with an emb"),
        ((*LSTM, "dataset.context=x"), "dataset.context=x is out of range: dataset.context is a whole number from 1"),
        (
            (*LSTM, "measure=[lengths]"),
            "measure=lengths is of networks whose inputs are numbers; ",
        ),
        (
            (*TRANSFORMER, "dataset.test=1"),
            "dataset.test=1 is out of range: dataset.test is a number above 0 and below 1",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(command, text, overrides, line):
    own = text if not any("dataset=" in one for one in overrides) else text[5:]
    ended = command.inside(*own, *overrides, "iterations=2", code=2)
    assert ended.err.startswith(f"ltsweep: {line}")
    assert ended.err.count("\n") == 1
    assert not (command.folder / "multirun").exists()
