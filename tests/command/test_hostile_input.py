"""Input that is large, deep, no text, or leads elsewhere: one short line, and nothing is written anywhere."""

import pytest

QUICK = ("dataset=digits", "levels=0", "iterations=1", "device=cpu")
NINES = "9" * 400
BASIC = ("hydra/launcher=basic", "hydra/sweeper=basic")

# id: (arguments, what the line must say)
CASES = {
    "workers of 400 digits": ([f"workers={NINES}"], ["workers=9", "from 1 to 1,024"]),
    "too many workers": (["workers=1025"], ["workers=1025", "from 1 to 1,024"]),
    "stack_size of 400 digits": ([f"stack_size={NINES}"], ["stack_size=9", "from 1 to 100,000"]),
    "a rate of 400 digits": ([f"prune_rate={NINES}"], ["prune_rate.value=9", "below 1"]),
    "lr of 5,000 digits": (["lr=" + "9" * 5_000], ["lr=9", "cannot be read", "5000 digits"]),
    "a seed of 5,000 digits": (["seed=" + "9" * 5_000], ["seed=9", "cannot be read"]),
    "betas of 400 digits": ([f"optimizer.betas=[{NINES},0]"], ["optimizer", "beta"]),
    "no shape": (["model.input_shape=[]"], ["model.input_shape=[]", "a list of 1 to 8 sizes"]),
    "another shape": (["model.input_shape=[1,8,9]"], ["model.input_shape=[1, 8, 9]"]),
    "a huge shape": ([f"dataset.input_shape=[{'9' * 30}]"], ["dataset.input_shape=[9", "1 to 1,000,000"]),
    "a long name": (["init.name=" + "x" * 300], ["init.name=xxx", "up to 64"]),
    "a name with a slash": (["init.name='a/b'"], ["init.name=a/b", "without '/'"]),
    "no study": (["study=null"], ["study=None", "letters"]),
    "a long study": (["study=" + "x" * 101], ["study=xxx", "up to 100 letters"]),
    "no UTF-8": (["study=\udcff"], ["study=\\udcff", "UTF-8"]),
    "no UTF-8 in a flag": (["--config-dir=\udcff"], ["\\udcff", "UTF-8"]),
    "brackets that open": (["a=" + "[" * 40], ["a=[[["]),
    "brackets that close": (["+a=" + "[" * 3_000 + "]" * 3_000], ["a=[[[", "nested too deeply"]),
    "a group of brackets": (["lr=" + "[" * 3_000 + "]" * 3_000], ["lr=[[[", "nested too deeply"]),
    "hundreds of brackets": (["model.activation=" + "[" * 200 + "]" * 200], ["model.activation=[[[", "nested"]),
    "a long word": (["model.activation=" + "x" * 100_000], ["model.activation=xxx", "leaky_relu"]),
    "ten thousand million cells": (["seed=range(10000000000)"], ["the grid has 10,000,000,000 cells", "max_cells"]),
    "cells of a float's range": (["lr=range(0.1,1.0,1e-12)"], ["the grid has 9", "max_cells=10,000"]),
    "cells of Hydra's sweeper": ([*BASIC, "seed=range(10000000000)"], ["the grid has 10,000,000,000 cells"]),
    "a few cells too many": (["seed=range(3)", "lr=1,2", "max_cells=5"], ["the grid has 6 cells", "max_cells=5"]),
    "a range without an end": (["seed=range(0,inf)"], ["seed=range(0,inf)", "two ends"]),
    "max_cells": (["max_cells=0"], ["max_cells=0", "from 1"]),
    "a pickle": (["--experimental-rerun=job.pickle"], ["--experimental-rerun", "pickle"]),
    "a single run": (["hydra.mode=RUN"], ["hydra.mode=RUN", "a grid of one cell"]),
    "a single run elsewhere": (["hydra.mode=RUN", "hydra.run.dir=../outside"], ["hydra.mode=RUN"]),
    **{
        f"{name} {len(launcher)}": ([f"hydra.{name}={value}", *launcher], [f"hydra.{name}=", "multirun/<study> alone"])
        for name, value in {
            "sweep.dir": "../outside", "sweep.subdir": "../../../outside", "run.dir": "../outside",
            "output_subdir": "../../../../outside", "job.name": "../../../outside", "job.chdir": "true",
        }.items()
        for launcher in ((), BASIC)
    },
    "a study outside": ([*BASIC, "study=../outside"], ["study=../outside", "letters"]),
}  # fmt: skip

# hydra.sweeper.params, as a YAML has them -> what the line must say
PARAMS = {
    "study: ../../outside": ["hydra.sweeper.params.study", "by itself"],
    "hydra.sweep.dir: ../outside": ["hydra.sweeper.params.hydra.sweep.dir", "by itself"],
    "workers: 3": ["hydra.sweeper.params.workers", "by itself"],
    "seed: range(10000000000)": ["the grid has 10,000,000,000 cells", "max_cells=10,000"],
    "seed: " + "9" * 5_000: ["the config cannot be composed"],
}


def assert_one_line(command, ended, said):
    assert ended.err.startswith("ltsweep: ")
    assert ended.err.count("\n") == 1, ended.err
    assert len(ended.err) < 1_000
    assert ended.err[:-1].isprintable()
    assert ended.out == ""
    for part in said:
        assert part in ended.err
    assert not (command.folder / "multirun").exists()
    assert not (command.folder / "outputs").exists()
    assert not (command.folder.parent / "outside").exists()


@pytest.mark.parametrize(("arguments", "said"), CASES.values(), ids=CASES)
def test_hostile_input_is_one_line(command, arguments, said):
    assert_one_line(command, command.inside(*arguments, *QUICK, code=2), said)
    assert list(command.folder.iterdir()) == []


@pytest.mark.parametrize("launcher", [(), BASIC], ids=["ours", "Hydra's"])
@pytest.mark.parametrize(("params", "said"), PARAMS.items(), ids=range(len(PARAMS)))
def test_hostile_params_are_one_line(command, params, said, launcher):
    (command.folder / "own/experiment").mkdir(parents=True)
    lines = f"# @package _global_\nhydra: {{sweeper: {{params: {{{params}}}}}}}\n"
    (command.folder / "own/experiment/mine.yaml").write_text(lines)
    ended = command.inside("--config-dir=own", "+experiment=mine", *QUICK, *launcher, code=2)
    assert_one_line(command, ended, said)


def test_an_experiment_cannot_lead_elsewhere(command):
    (command.folder / "own/experiment").mkdir(parents=True)
    (command.folder / "own/experiment/mine.yaml").write_text("# @package _global_\nhydra: {mode: RUN}\n")
    ended = command.inside("--config-dir=own", "+experiment=mine", *QUICK, code=2)
    assert_one_line(command, ended, ["hydra.mode=RUN"])


def test_a_sweeper_of_ones_own_cannot_lead_elsewhere(command, monkeypatch):
    """Its jobs are seen one by one, before any launcher makes their folders."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    monkeypatch.setattr(BasicSweeper, "split_arguments", lambda *_: [[["study=other", "hydra.sweep.dir=../outside"]]])
    ended = command.inside(*QUICK, *BASIC, code=2)
    assert "hydra.sweep.dir=../outside is refused" in ended.err
    assert not (command.folder.parent / "outside").exists()


def test_hydras_own_sweeper_and_launcher_write_into_the_study(command):
    command.inside(*QUICK, *BASIC, "study=mine", "hydra/job_logging=default")
    assert [path.name for path in command.folder.iterdir()] == ["multirun"]
    assert [path.name for path in (command.folder / "multirun").iterdir()] == ["mine"]
    assert command.study("mine").statuses().values()
