"""`dry_run=true`: the plan of the real command, with time and space from the records, and not a byte written."""

import re

import pytest
import torch
from hydra.types import RunMode

from ltsweep.grid import compose
from ltsweep.run import prepare

GRID = ("-m", "init=xavier_u,kaiming_n", "levels=1", "iterations=4")


def files(folder):
    """Return path -> time of change and size, of all that is in a folder."""
    return {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in folder.rglob("*")}


@pytest.mark.parametrize("choices", [(), ("hydra/launcher=basic",), ("hydra/launcher=basic", "hydra/sweeper=basic")])
def test_nothing_is_written_whoever_launches(command, small, choices):
    out = command.inside(*GRID, *small, *choices, "seed=0,1", "stack_size=3", "dry_run=true").out
    assert "multirun/default: 4 cells; this is a dry run, which computes and writes nothing\n" in out
    assert "  cells   0 finished, 4 to compute: 4 new\n" in out
    assert "  stacks  2 on 1 worker (cpu): 2 of 2 cells\n" in out
    assert "no like cell on record, so no time is reckoned\n" in out
    assert list(command.folder.iterdir()) == []


def test_the_plan_is_that_of_the_command_and_the_time_that_of_its_records(command, small):
    command.inside(*GRID, *small, "seed=0,1")
    keys = sorted(command.study().cells())
    grid = (*GRID, *small, "seed=0,1,2", "stack_size=1")
    before = files(command.folder)
    dry = command.inside(*grid, "dry_run=true").out
    assert "  cells   4 finished, 2 to compute: 2 new\n" in dry
    assert "  stacks  2 on 1 worker (cpu): 2 of 1 cell\n" in dry
    assert re.search(r"  time    about \d+ s \(\d+ s of computing\)\n", dry)
    sizes = [sum(size for size, _, _ in folder.status["files"].values()) for folder in command.study().cells().values()]
    (said,) = re.findall(r"  disk    about (\d+) kB more\n", dry)
    assert float(said) == pytest.approx(2 * sum(sizes) / len(sizes) / 1000, abs=1)
    assert "by 4 cells on record in this study, equal in all but seed, init, prune_rate, lr.value, " in dry
    again = command.inside(*grid, "dry_run=true", "force=true").out
    assert "  cells   6 to compute: all (force=true)\n" in again
    assert "  stacks  6 on 1 worker (cpu): 6 of 1 cell\n" in again
    assert files(command.folder) == before
    assert "2 to compute" in command.inside(*grid).out
    assert len(set(command.study().cells()) - set(keys)) == 2


def test_data_that_are_not_here_are_not_downloaded(command, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.MNIST.__init__", lambda *_, **__: pytest.fail("downloads"))
    out = command.inside("dry_run=true", "device=cpu").out
    assert "  data    mnist: not in data yet, and downloaded first\n" in out
    assert list(command.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("dry_run=maybe",), "dry_run=maybe is out of range: dry_run is true or false"),
        (("dry_run=true,false",), "a study has one dry_run"),
        (("dry_run=true", "lr=-1"), "lr.value=-1 is out of range"),
        (("dry_run=true", "batch_size=1400"), "batch_size=1400 is more than the 1237 training examples of digits"),
        (("dry_run=true", "stack_size=0"), "stack_size=0 is out of range"),
        (
            ("dry_run=true", "hydra/sweeper=optuna", "lr=interval(0.1,1)"),
            "a search reads every score before it goes on",
        ),
    ],
)
def test_mistakes_are_those_of_the_command(command, small, given, says):
    ended = command.inside(*small, "levels=0", "iterations=1", *given, code=2)
    assert says in ended.err
    assert ended.err.count("\n") == 1
    assert list(command.folder.iterdir()) == []


def test_a_study_that_is_a_link_is_refused(command, small, tmp_path):
    (command.folder / "multirun").mkdir()
    (command.folder / "multirun/default").symlink_to(tmp_path)
    ended = command.inside(*small, "levels=0", "dry_run=true", code=2)
    assert "is a symbolic link" in ended.err


def test_a_command_composes_its_config_once(command, small, monkeypatch):
    """Besides that of the first cell: it takes longer than all else that a small command does before its cells."""
    composed, load = [], compose._load
    monkeypatch.setattr(compose, "_load", lambda *given, **more: composed.append(given[3]) or load(*given, **more))
    command.inside("seed=0,1", *small, "dry_run=true")
    assert composed == [RunMode.MULTIRUN, RunMode.RUN]


def test_what_is_checked_is_on_one_thread(command, small, monkeypatch):
    """Several threads would wait for each other on a busy machine, for operators of microseconds."""
    threads = []
    check = prepare.check_outputs
    monkeypatch.setattr(prepare, "check_outputs", lambda cells: threads.append(torch.get_num_threads()) or check(cells))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        command.inside(*GRID, *small, "dry_run=true")
    finally:
        torch.set_num_threads(before)
    assert threads == [1]
