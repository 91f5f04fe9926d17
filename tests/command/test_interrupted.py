"""Killed, or met by a second command, half-way: nothing is lost, nothing is done twice, nobody is left behind."""

import hashlib
import os
import re
import signal
from pathlib import Path

import pytest

LEVELS = 3
GRID = ("-m", "init=xavier_u,kaiming_n", "lr=1e-3,2e-3", f"levels={LEVELS}", "iterations=200", "evaluate_every=100")
ONE_STACK = ("stack_size=8", "workers=1")
STACKS_OF_ONE = ("stack_size=1", "workers=2")
AGAIN = ("workers=1",)  # the same cells in the same stacks; no second worker has to import torch


@pytest.fixture(scope="module")
def undisturbed(command_in, small, tmp_path_factory):
    """Return the study of the whole grid, run to its end in one go as stacks of the size given."""
    command = command_in(tmp_path_factory.mktemp("undisturbed"))

    def study(stack_size):
        command.inside(*GRID, *small, stack_size, f"study={stack_size.replace('=', '_')}")
        return command.study(stack_size.replace("=", "_"))

    return study


def assert_went_on(study, stopped):
    """Fail unless each cell of `stopped` went on at the first level that it lacked."""
    for key, folder in study.cells().items():
        first = stopped[key]["level"] + 1
        before, after = folder.levels_logged()
        # A level counts once its status is written; its line in the log comes after that.
        assert before in [list(range(n)) for n in (first - 1, first)]
        assert after == list(range(first, LEVELS + 1))
        assert re.search(rf"  starts (at|in) level {first}\b", folder.log)
        assert list(folder.levels["level"]) == list(range(LEVELS + 1))


def stopped_half_way(study):
    """Return key -> status, of a study that is neither as good as new nor ready."""
    stopped = {key: folder.status for key, folder in study.cells().items()}
    assert len(stopped) == 4
    assert any(0 < status["level"] + 1 <= LEVELS for status in stopped.values())
    assert {status["status"] for status in stopped.values()} <= {"running", "pending", "done"}
    return stopped


def assert_all_die(pids):
    """Wait until none of the processes is there any more, but for the dead that nobody has buried."""
    while pids:
        pids = [pid for pid in pids if (state := _state(pid)) is not None and state not in "ZX"]


def _state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


def test_the_whole_group_killed_goes_on_at_its_level(command, small, undisturbed):
    arguments = (*GRID, *small, *ONE_STACK)
    process = command.start(*arguments)
    command.until(process, lambda: command.level_reached("default", 1, cells=4))
    os.killpg(process.pid, signal.SIGKILL)
    assert command.wait(process).code == -signal.SIGKILL
    stopped = stopped_half_way(command.study())

    ended = command.inside(*arguments)
    assert "4 to compute, 4 of them from where they stopped" in ended.out
    assert set(command.study().statuses().values()) == {"done"}
    assert_went_on(command.study(), stopped)
    # The stack goes on as it was begun, so not a bit differs.
    command.study().assert_same_records(undisturbed("stack_size=8"))


def test_a_cell_finished_alone_stays_finished_while_the_killed_grid_goes_on(command, small):
    grid = ("-m", "seed=0,1,2,3", "levels=5", "iterations=200", "evaluate_every=100", *small, *ONE_STACK)
    command.inside(*grid, "study=whole")
    study = command.study()

    def kill_at(level, cells):
        process = command.start(*grid)
        command.until(process, lambda: command.level_reached("default", level, cells=cells))
        os.killpg(process.pid, signal.SIGKILL)
        assert command.wait(process).code == -signal.SIGKILL

    kill_at(1, 4)
    command.inside("seed=0", *grid[2:])
    first = study.cell(seed=0)
    finished = {name: file for name, file in study.snapshot().items() if name.startswith(first.path.name)}
    assert (first.status["status"], first.status["stack_cells"]) == ("done", 1)
    kill_at(3, 3)
    ended = command.inside(*grid)
    assert "4 cells, 1 already finished, 3 to compute, 3 of them from where they stopped" in ended.out
    assert {name: file for name, file in study.snapshot().items() if name.startswith(first.path.name)} == finished

    others = [key for key in study.cells() if key != first.path.name]
    study.assert_same_records(command.study("whole"), others)
    for folder in study.cells().values():
        keys = folder.status["stack_keys"]
        assert keys == ([first.path.name] if folder == first else sorted(study.cells()))
        assert folder.status["stack_cells"] == len(keys)
        assert folder.status["stack"] == hashlib.sha256(" ".join(keys).encode()).hexdigest()[:16]


def test_a_given_stack_size_makes_the_same_stacks_whatever_the_workers(command, small):
    grid = ("-m", "seed=0,1,2,3,4,5", "levels=0", "iterations=1", *small)
    command.inside(*grid, "stack_size=2", "workers=1", "study=one")
    command(*grid, "stack_size=2", "workers=2", "study=two")
    names = ("stack", "stack_cells", "stack_keys", "packed")
    one, two = (
        {key: [folder.status[name] for name in names] for key, folder in command.study(study).cells().items()}
        for study in ("one", "two")
    )
    assert one == two
    assert [cells for _, cells, _, _ in one.values()] == [2] * 6
    command.inside(*grid, "stack_size=auto", "workers=1", "study=auto")
    for folder in command.study("auto").cells().values():
        assert folder.status["packed"] == {"stack_size": "auto", "workers": 1, "largest": 8}


@pytest.mark.slow
def test_the_driver_killed_takes_its_workers_along(command, small, undisturbed, descendants):
    arguments = (*GRID, *small, *STACKS_OF_ONE)
    process = command.start(*arguments)
    command.until(process, lambda: command.level_reached("default", 1, cells=2))
    family = descendants(process.pid)
    assert sum("spawn_main" in line for line in family.values()) >= 2
    os.kill(process.pid, signal.SIGKILL)  # the driver alone, not its group
    process.wait()
    # At once, as a user with a script would: whoever is still alive would write beside this one.
    ended = command.inside(*arguments, *AGAIN)
    assert_all_die(family)
    assert " from where they stopped" in ended.out
    assert set(command.study().statuses().values()) == {"done"}
    for folder in command.study().cells().values():
        runs = folder.levels_logged()
        assert len(runs) <= 2
        done = [level for run in runs for level in run]
        assert done == sorted(done)
        # At most the line of the level at which it was killed is missing.
        assert len(done) >= LEVELS
        assert len(set(done)) == len(done)
    command.study().assert_same_records(undisturbed("stack_size=1"))


@pytest.mark.slow
def test_a_killed_worker_fails_its_cells_alone_and_the_same_command_completes(command, small, undisturbed, descendants):
    arguments = (*GRID, *small, *STACKS_OF_ONE)
    process = command.start(*arguments)
    command.until(process, lambda: command.level_reached("default", 1, cells=2))
    worker = next(pid for pid, line in descendants(process.pid).items() if "spawn_main" in line)
    os.kill(worker, signal.SIGKILL)
    ended = command.wait(process)
    assert ended.code == 1
    study = command.study()
    statuses = list(study.statuses().values())
    assert sorted(statuses) == ["done", "done", "done", "failed"]
    (failed,) = [folder for folder in study.cells().values() if folder.status["status"] == "failed"]
    assert "killed" in failed.status["error"]
    assert "killed" in failed.log
    assert failed.path.name in ended.out
    assert "1 failed" in ended.out
    assert "Traceback" not in ended.out + ended.err
    whole = {key: study.cells()[key].levels_logged() for key, status in study.statuses().items() if status == "done"}
    stopped = {key: folder.status for key, folder in study.cells().items()}

    ended = command.inside(*arguments, *AGAIN)
    assert "4 cells, 3 already finished, 1 to compute, 1 of them from where they stopped" in ended.out
    assert set(study.statuses().values()) == {"done"}
    assert failed.status["error"] is None
    assert failed.levels_logged()[-1] == list(range(stopped[failed.path.name]["level"] + 1, LEVELS + 1))
    assert {key: study.cells()[key].levels_logged() for key in whole} == whole
    study.assert_same_records(undisturbed("stack_size=1"))


@pytest.mark.slow
def test_ctrl_c_stops_with_one_line_and_the_same_command_goes_on(command, small, undisturbed, descendants):
    arguments = (*GRID, *small, *STACKS_OF_ONE)
    process = command.start(*arguments)
    command.until(process, lambda: command.level_reached("default", 1, cells=2))
    family = descendants(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    ended = command.wait(process)
    assert ended.code == 130
    assert "\n" not in ended.err.strip()
    assert "the same command goes on" in ended.err
    assert "Traceback" not in ended.out + ended.err
    assert_all_die(family)
    command.inside(*arguments, *AGAIN)
    command.study().assert_same_records(undisturbed("stack_size=1"))


def test_a_second_command_on_the_study_is_turned_away(command, small, undisturbed):
    arguments = (*GRID, *small, *ONE_STACK)
    first = command.start(*arguments)
    command.until(first, lambda: command.level_reached("default", 0))
    os.kill(first.pid, signal.SIGSTOP)  # so that it is sure to be there
    second = command.inside(*arguments, code=2)
    another = command.inside("seed=3", "levels=0", *small, code=2)
    elsewhere = command.inside("seed=3", "levels=0", "iterations=1", *small, "study=elsewhere")
    assert not command.study().cells().keys() & command.study("elsewhere").cells().keys()
    os.kill(first.pid, signal.SIGCONT)
    for refused in (second, another):
        assert refused.out == ""
        assert refused.err.count("\n") == 1
        assert f"process {first.pid} " in refused.err
        assert "multirun/default" in refused.err
    assert "1 done" in elsewhere.out
    ended = command.wait(first)
    assert (ended.code, ended.err) == (0, "")
    command.study().assert_same_records(undisturbed("stack_size=8"))
    assert "4 already finished, nothing to compute" in command.inside(*arguments).out


def test_a_torn_record_is_computed_again(command, small):
    """A disk that filled up, or an editor, leaves a cell that cannot be read: the same command mends it."""
    arguments = (*small, "levels=2", "iterations=30")
    command.inside(*arguments)
    (folder,) = command.study().cells().values()
    status = (folder.path / "status.json").read_text()
    before = command.study().path.rename(command.folder / "before")

    for torn in ("evaluations.parquet", "levels.parquet", "tickets/init.safetensors", "tickets/level_02.safetensors"):
        command.inside(*arguments)
        path = folder.path / torn
        path.write_bytes(path.read_bytes()[:100])
        (folder.path / "status.json").write_text(
            status.replace('"done"', '"running"').replace('"level": 2', '"level": 1')
        )
        command.inside(*arguments)
        assert folder.status["status"] == "done"
        assert folder.levels_logged()[-1] == [0, 1, 2]
        command.study().assert_same_records(type(command.study())(before))
    (folder.path / "status.json").write_text(status[:40])
    command.inside(*arguments)
    assert folder.status["status"] == "done"
    command.study().assert_same_records(type(command.study())(before))
