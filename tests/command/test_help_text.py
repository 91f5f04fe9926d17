"""The help teaches, and comes at once: nothing that takes seconds to import is needed for it."""

import re

import pytest
import yaml

GROUPS = ("model", "init", "optimizer", "prune_rate", "lr", "dataset", "method", "experiment")


def imported(stderr):
    """Return the modules that `python -X importtime` lists."""
    return {line.rpartition("|")[2].strip() for line in stderr.splitlines() if line.startswith("import time:")}


@pytest.fixture(scope="module")
def help_(command_in, tmp_path_factory):
    return command_in(tmp_path_factory.mktemp("help"))("--help", python=("-X", "importtime"))


def test_help_needs_no_torch(help_):
    modules = imported(help_.err)
    assert "hydra.main" in modules  # so the list is one
    assert not modules & {"torch", "torchvision", "pandas", "sklearn", "numpy", "pyarrow", "optuna"}


@pytest.mark.parametrize(
    "part",
    [
        "python -m ltsweep\n",
        "python -m ltsweep -m init=xavier_u,kaiming_n lr=1.2e-3,0.1",
        "dataset=digits",
        "+experiment=one_initialization",
        "python -m multirun_analysis multirun/",
        "lr=0.1",
        "study=",
        "data_dir=",
        "LTSWEEP_DATA",
        "device=",
        "workers=",
        "force=true",
        "method.controls=[reinit,random_mask]",
    ],
)
def test_help_names_the_main_commands_and_switches(help_, part):
    assert part in help_.out


@pytest.mark.parametrize("group", GROUPS)
def test_help_lists_every_choice(help_, group):
    from pathlib import Path

    import ltsweep.conf

    (listed,) = re.findall(rf"^{group}: (.*(?:\n    .*)*)$", help_.out, flags=re.M)
    on_disk = {path.stem for path in (Path(next(iter(ltsweep.conf.__path__))) / group).glob("*.yaml")}
    assert set(listed.replace("\n   ", "").split(", ")) == on_disk
    assert on_disk


def test_help_fits_a_terminal_and_writes_nothing(help_, command):
    assert max(map(len, help_.out.splitlines())) <= 150
    command.inside("--help")
    assert list(command.folder.iterdir()) == []


def test_cfg_job_shows_the_resolved_choice(command):
    ended = command.inside("--cfg", "job", "lr=0.1", "init=kaiming_u")
    assert re.search(r"^init:\n  name: kaiming_u$", ended.out, flags=re.M)
    assert re.search(r"^  value: 0\.1$", ended.out, flags=re.M)
    assert list(command.folder.iterdir()) == []


def test_cfg_job_is_resolved_as_the_help_says(command, help_):
    assert "--cfg job shows the resolved config" in " ".join(help_.out.split())
    config = yaml.safe_load(command.inside("--cfg", "job", "dataset=digits", "lr=0.1").out)
    assert config["validation"] == 200
    assert config["model"]["input_shape"] == [1, 8, 8]
    assert (
        command.inside("--cfg=job", "--resolve", "dataset=digits", "lr=0.1").out
        == command.inside("dataset=digits", "lr=0.1", "-c", "job").out
    )


@pytest.mark.parametrize("multirun", [(), ("-m",), ("--multirun",)])
def test_cfg_of_a_grid_shows_one_of_its_cells(command, multirun):
    grid = (*multirun, "lr=warmup,cosine", "seed=range(3,1000000000000)", "lr.warmup=7", "-c", "job")
    ended = command.inside(*grid)
    assert ended.out.startswith("# one cell of the grid: lr=warmup seed=3\n")
    config = yaml.safe_load(ended.out)
    assert (config["seed"], config["lr"]["name"], config["lr"]["warmup"]) == (3, "warmup", 7)
    assert command.inside(*grid, "-p", "lr.warmup").out.splitlines()[-1] == "7"
    assert "one cell is shown; take init=NAME" in command.inside("--cfg", "job", "init=glob(*)", code=2).err
    assert list(command.folder.iterdir()) == []


def test_the_commands_of_the_help_run(help_, command):
    """The help's own quick example, as it stands but for its length."""
    (line,) = re.findall(r"python -m ltsweep (dataset=digits .*)", help_.out)
    ended = command.inside(*line.replace("levels=5", "levels=1").split(), "iterations=2", "device=cpu")
    assert "1 done" in ended.out
    assert len(command.study("try").cells()) == 1
