"""A name that is not in the config gets the nearest one that is; a fault of ours gets its traceback."""

import sys

import hydra
import ltsweep.conf
import pytest

import ltsweep.run.prepare
from ltsweep.grid import cell

QUICK = ("dataset=digits", "levels=0", "iterations=1", "device=cpu")

# id: (arguments, what the line must say)
CASES = {
    "far from all": (["foo=1"], ["foo is not a name of the config", "there are seed", "epochs", "study", "prune_rate"]),
    "near one": (["epoch=1"], ["epoch is not", "did you mean epochs?"]),
    "near a group": (["modle=lenet5"], ["modle is not", "did you mean model?"]),
    "swept": (["-m", "sede=1,2"], ["sede is not", "did you mean seed?"]),
    "appended": (["+lerning_rate=1"], ["lerning_rate is not", "there are seed"]),
    "of a group": (["lr.foo=1"], ["lr.foo is not", "lr.value"]),
    "of a group's choice": (["lr=step", "lr.mile=1"], ["lr.mile is not", "lr.milestones", "lr.gamma"]),
    "of one choice of a sweep": (
        ["-m", "lr=warmup,constant", "lr.warmup=1"],
        ["lr.warmup is not a name of the config with lr=constant", "there are lr.value"],
    ),
    "beside a sweep without its flag": (["seed=1,2", "epoch=1"], ["epoch is not", "did you mean epochs?"]),
    "near one of a group": (["model.activatoin=relu"], ["did you mean model.activation?"]),
    "below a number": (["seed.x=1"], ["seed.x is not", "has no names"]),
    "of the launcher": (
        ["hydra/launcher=slurm", "hydra.launcher.partitions=gpu"],
        ["hydra.launcher.partitions is not", "did you mean hydra.launcher.partition?", "hydra.launcher.timeout_min"],
    ),
    "near a choice": (["init=xavier"], ["init/xavier", "xavier_u", "did you mean", "orthogonal"]),
    "a launcher": (["hydra/launcher=locla"], ["did you mean local?", "slurm"]),
    "a sweeper": (["hydra/sweeper=optun"], ["did you mean optuna?", "grid"]),
    "a launcher of no plugin": (["hydra.launcher._target_=foo.Bar"], ["foo.Bar", "basic, local, slurm"]),
    "submitit here": (["hydra/launcher=submitit_local"], ["submitit_local", "hydra/launcher=local"]),
    "submitit on Slurm": (["hydra/launcher=submitit_slurm"], ["submitit_slurm", "hydra/launcher=slurm"]),
}


@pytest.mark.parametrize(("arguments", "said"), CASES.values(), ids=CASES)
def test_a_wrong_name_is_one_line_with_the_right_one(command, arguments, said):
    ended = command.inside(*arguments, *QUICK, code=2)
    assert ended.err.startswith("ltsweep: ")
    assert ended.err.count("\n") == 1, ended.err
    assert ended.out == ""
    for part in said:
        assert part in ended.err
    assert list(command.folder.iterdir()) == []


def test_the_fields_are_those_of_a_yaml_of_ones_own(command):
    (command.folder / "own/lr").mkdir(parents=True)
    (command.folder / "own/lr/mine.yaml").write_text("name: mine\n_target_: mine.f\nvalue: 0.1\nsteepness: 2\n")
    ended = command.inside("--config-dir=own", "lr=mine", "lr.steepnes=3", *QUICK, code=2)
    assert "did you mean lr.steepness? there are lr.value, lr.steepness" in ended.err


@pytest.mark.parametrize("name", ["lr/constant", "config", "hydra/launcher/slurm", "hydra/env/default"])
@pytest.mark.parametrize("how", ["--config-dir=own", "hydra.searchpath=[file://own]", "hydra.searchpath=[pkg://own]"])
def test_a_file_of_a_built_ins_name_is_refused_with_both_paths(command, monkeypatch, name, how):
    """Hydra would take the built-in one and say nothing."""
    monkeypatch.syspath_prepend(command.folder)
    file = command.folder / f"own/{name}.yaml"
    file.parent.mkdir(parents=True)
    (command.folder / "own/__init__.py").touch()
    file.write_text("name: mine\n_target_: mine.f\nvalue: 7\n")
    for arguments in ([how], [how, "--cfg", "job"], [how, "-m", "seed=0,1", "hydra/launcher=basic"]):
        ended = command.inside(*arguments, *QUICK, code=2)
        assert ended.err.count("\n") == 1, ended.err
        assert ended.err.startswith("ltsweep: ")
        assert f"own/{name}.yaml would not be read: /" in ended.err
        assert ended.err.count(f"{name}.yaml") == 2
        assert ended.err.endswith("rename yours\n")
    assert not (command.folder / "multirun").exists()
    sys.modules.pop("own", None)


def test_the_built_in_folder_itself_and_other_names_are_no_such_files(command):
    (command.folder / "own/lr").mkdir(parents=True)
    (command.folder / "own/lr/constant_too.yaml").write_text("name: too\n_target_: mine.f\nvalue: 7\n")
    for folder in ("own", next(iter(ltsweep.conf.__path__))):
        assert "value: 0.0012" in command.inside("--config-dir", folder, "--cfg=job", *QUICK).out
    ended = command.inside("hydra.searchpath=[file://nowhere]", *QUICK, code=2)
    assert ended.err == "ltsweep: file://nowhere (hydra.searchpath in command-line) is not there\n"


@pytest.mark.parametrize(
    ("module", "name"),
    [(ltsweep.run.prepare, "find_devices"), (ltsweep.run.prepare, "load_data"), (cell, "check")],
)
@pytest.mark.parametrize("launcher", ["local", "basic"])
def test_a_fault_in_a_wing_keeps_its_traceback(command, monkeypatch, module, name, launcher):
    def broken(*_):
        return {}["a fault of ours"]

    monkeypatch.setattr(module, name, broken)
    with pytest.raises(KeyError, match="a fault of ours") as raised:
        command.inside(*QUICK, f"hydra/launcher={launcher}", code=1)
    assert any(entry.name == "broken" for entry in raised.traceback)


def test_a_fault_in_composing_is_one_line(command, monkeypatch):
    """Hydra raises more than its own exceptions for a config that it cannot read."""
    (command.folder / "own/init").mkdir(parents=True)
    (command.folder / "own/init/torn.yaml").write_text("name: [torn\n")
    for arguments in (["init=torn"], ["-m", "init=torn,xavier_u"]):
        ended = command.inside("--config-dir=own", *arguments, *QUICK, code=2)
        assert ended.err.count("\n") == 1, ended.err
        assert "torn" in ended.err
    ended = command.inside("hydra.sweeper.max_batch_size=0", *QUICK, code=2)
    assert ended.err.count("\n") == 1, ended.err


def test_version_is_ours_and_then_hydras(command):
    from importlib.metadata import version

    ended = command("--version", python=("-X", "importtime"))
    assert ended.out == f"ltsweep {version('ltsweep')}, Hydra {hydra.__version__}\n"
    modules = {line.rpartition("|")[2].strip() for line in ended.err.splitlines()}
    assert "hydra.main" in modules
    assert not modules & {"torch", "torchvision", "pandas", "sklearn", "numpy", "pyarrow", "optuna"}
