"""Killed at any moment, again and again: the same command ends with the records of a run that was never killed."""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

LEVELS = 2
# Four stacks of two cells, and a checkpoint after every step: nearly all of the time something is being written.
GRID = ("-m", "init=xavier_u,kaiming_n", "lr=1e-3,2e-3", "seed=0,1", f"levels={LEVELS}", "iterations=400")
GRID = (*GRID, "evaluate_every=200", "stack_size=2")
HASTE = ("checkpoint_every=0",)
CALM = ("checkpoint_every=1000", "workers=1")

# A process that has imported everything, and for each line of its input lets a copy of itself run the command. So a
# driver costs a fork in place of some seconds, and is killed as any other.
FORKS = """
import os, sys
import pyarrow.parquet, safetensors.torch, sklearn.datasets, sklearn.model_selection, torch._dynamo
import ltsweep.run.study
from ltsweep.command import main
for line in sys.stdin:
    child = os.fork()
    if not child:
        os.setsid()
        out = os.open(line.strip() or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1); os.dup2(out, 2)
        main(sys.argv[1:])
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Drivers:
    """Starts the command in one folder, one at a time, by forking."""

    def __init__(self, folder, arguments):
        environment = {name: value for name, value in os.environ.items() if name != "LTSWEEP_DATA"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", FORKS, *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = 0

    def start(self, output=""):
        self.process.stdin.write(f"{output}\n")
        self.process.stdin.flush()
        self.pid = int(self.process.stdout.readline())
        return self.pid

    def wait(self):
        """Return the exit code of the driver that was started last."""
        code = int(self.process.stdout.readline())
        self.pid = 0
        return code

    def close(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def drivers():
    made = []

    def make(folder, arguments):
        made.append(Drivers(folder, arguments))
        return made[-1]

    yield make
    for one in made:
        one.close()


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
def test_thirty_kills_at_random_moments_change_no_bit(
    command, small, undisturbed, drivers, descendants, record_property
):
    study, rng, kills = command.study(), random.Random(5), Counter()
    study.path.mkdir(parents=True)

    def moment():
        """Return how much is to be written before the next kill; a little later than that, it comes."""
        return rng.randrange(1, 5)

    # By the real command, with two workers: workers one after another, then what is left of it.
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
    forked = drivers(command.folder, (*GRID, *small, *HASTE, "workers=1"))
    for _ in itertools.repeat(None, 22):
        pid = forked.start()
        assert await_progress(study.path, moment(), lambda pid=pid: is_dead(pid)), "ended before it was killed"
        time.sleep(rng.uniform(0, 0.01))
        os.kill(pid, signal.SIGKILL)
        assert forked.wait() == -signal.SIGKILL
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
def test_two_drivers_race_and_are_killed_and_one_at_a_time_has_the_study(
    command, small, undisturbed, drivers, record_property
):
    """Two users who each start the same command again and again; whoever holds the study is killed half-way."""
    study, rng = command.study(), random.Random(7)
    study.path.mkdir(parents=True)
    both = [drivers(command.folder, (*GRID, *small, *HASTE, "workers=1")) for _ in range(2)]
    refused = killed = 0
    for turn in range(6):
        outputs = [command.folder / f"{turn}_{i}" for i in range(2)]
        pids = [one.start(output) for one, output in zip(both, outputs, strict=True)]
        over = lambda pids=pids: all(map(is_dead, pids))  # noqa: E731
        assert await_progress(study.path, rng.randrange(4, 9), over)
        # One of them was there first; the other is turned away with one line that names it.
        deadline = time.monotonic() + 300
        while not any(map(is_dead, pids)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        loser = next(i for i in range(2) if is_dead(pids[i]))
        winner = 1 - loser
        assert both[loser].wait() == 2
        text = outputs[loser].read_text()
        assert text.count("\n") == 1
        assert f"is being computed by process {pids[winner]} on " in text
        refused += 1
        os.kill(pids[winner], signal.SIGKILL)
        assert both[winner].wait() == -signal.SIGKILL
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
