"""Killed at any moment, again and again: the same command ends with the records of a run that was never killed."""

import itertools
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

LEVELS = 2
# Four stacks of two cells, and a checkpoint after every step: nearly all of the time something is being written.
GRID = ("-m", "init=xavier_u,kaiming_n", "lr=1e-3,2e-3", "seed=0,1", f"levels={LEVELS}", "iterations=160")
GRID = (*GRID, "evaluate_every=80", "stack_size=2")
HASTE = ("checkpoint_every=0",)
CALM = ("checkpoint_every=1000", "workers=1")


def written(study):
    """Return what tells one moment of a study's records from another."""
    found = set()
    for path in [*study.glob(".stacks/*.safetensors"), *study.glob("*/status.json"), *study.glob("*/*.parquet")]:
        try:
            found.add((path, path.stat().st_mtime_ns))
        except OSError:
            continue  # moved meanwhile
    return found


def await_progress(study, changes, is_over):
    """Return when so many new states of the study's files were seen; false if the command ended before."""
    before, seen = written(study), set()
    deadline = time.monotonic() + 300
    while len(seen) < changes:
        seen |= written(study) - before
        if is_over():
            return False
        assert time.monotonic() < deadline, "hangs"
        time.sleep(0.001)
    return True


def unfinished(study):
    return [key for key, status in study.statuses().items() if status != "done"]


def is_dead(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


@pytest.fixture(scope="module")
def undisturbed(command_in, small, tmp_path_factory):
    """Return the study as a run gives it that nothing stopped."""
    command = command_in(tmp_path_factory.mktemp("undisturbed"))
    command.inside(*GRID, *small, *CALM)
    return command.study()


@pytest.mark.slow
def test_thirty_kills_at_random_moments_change_no_bit(command, small, undisturbed, descendants, record_property):
    study, rng, kills = command.study(), random.Random(5), Counter()
    study.path.mkdir(parents=True)

    def moment():
        """Return how much is to be written before the next kill; a little later than that, it comes."""
        return rng.randrange(1, 5)

    # With two workers: workers one after another, then what is left of it.
    arguments = (*GRID, *small, *HASTE, "workers=2")
    for last, before in (("worker", 4), ("driver", 2), ("tree", 2), ("tree", 0)):
        process = command.start(*arguments)
        workers = set()
        while True:
            if not await_progress(study.path, moment(), lambda process=process: process.poll() is not None):
                break
            time.sleep(rng.uniform(0, 0.01))
            alive = {pid for pid, line in descendants(process.pid).items() if "spawn_main" in line}
            if len(workers) >= before and last != "worker":
                break
            if alive - workers:
                worker = rng.choice(sorted(alive - workers))
                os.kill(worker, signal.SIGKILL)
                workers.add(worker)
        kills["worker"] += len(workers)
        assert last == "worker" or process.poll() is None
        if last == "driver":
            family = descendants(process.pid)
            os.kill(process.pid, signal.SIGKILL)
            command.wait(process)
            while not all(map(is_dead, family)):
                time.sleep(0.01)
        elif last == "tree":
            os.killpg(process.pid, signal.SIGKILL)
            command.wait(process)
        else:  # with all its workers killed, it ends by itself, and says which cells failed
            assert command.wait(process).code == 1
        if last != "worker":
            kills[last] += 1
        assert unfinished(study)

    # By drivers that train in their own process.
    arguments = (*GRID, *small, *HASTE, "workers=1")
    for _ in itertools.repeat(None, 22):
        process = command.start(*arguments)
        assert await_progress(study.path, moment(), lambda pid=process.pid: is_dead(pid)), "ended before it was killed"
        time.sleep(rng.uniform(0, 0.01))
        os.kill(process.pid, signal.SIGKILL)
        assert command.wait(process).code == -signal.SIGKILL
        kills["driver"] += 1
    assert unfinished(study)

    ended = command.inside(*GRID, *small, *CALM)
    assert "8 done" in ended.out
    study.assert_same_records(undisturbed)
    assert not list(study.path.rglob(".*.[0-9]*"))
    assert not list(study.path.rglob(".broken"))
    for name, count in kills.items():
        record_property(f"kills of the {name}", count)
    print(f"killed: {dict(kills)}, {sum(kills.values())} in all")
    assert sum(kills.values()) >= 30
    assert kills.keys() == {"worker", "driver", "tree"}


@pytest.mark.slow
def test_two_drivers_race_and_are_killed_and_one_at_a_time_has_the_study(command, small, undisturbed, record_property):
    """Two users who each start the same command again and again; whoever holds the study is killed half-way."""
    study, rng = command.study(), random.Random(7)
    study.path.mkdir(parents=True)
    refused = killed = 0
    for _ in range(6):
        both = [command.start(*GRID, *small, *HASTE, "workers=1") for _ in range(2)]
        pids = [process.pid for process in both]
        over = lambda pids=pids: all(map(is_dead, pids))  # noqa: E731
        assert await_progress(study.path, rng.randrange(4, 9), over)
        # One of them was there first; the other is turned away with one line that names it.
        deadline = time.monotonic() + 300
        while not any(map(is_dead, pids)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        loser = next(i for i in range(2) if is_dead(pids[i]))
        winner = 1 - loser
        ended = command.wait(both[loser])
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert f"is being computed by process {pids[winner]} on " in ended.err
        refused += 1
        os.kill(pids[winner], signal.SIGKILL)
        assert command.wait(both[winner]).code == -signal.SIGKILL
        killed += 1
    assert unfinished(study)
    command.inside(*GRID, *small, *CALM)
    study.assert_same_records(undisturbed)
    for folder in study.cells().values():
        runs = [run for run in folder.levels_logged() if run]
        assert all(run == list(range(run[0], run[-1] + 1)) for run in runs)
        # Nobody goes back, but to a level that the other cell of the stack had not ended when its owner was killed; and
        # a level counts once its status is written, while its line in the log comes after that.
        assert all(before[-1] <= after[0] <= before[-1] + 2 for before, after in itertools.pairwise(runs))
    record_property("drivers raced", refused + killed)
    print(f"{refused + killed} drivers raced, {refused} turned away, {killed} killed")
