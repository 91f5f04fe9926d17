"""What is made of Slurm's answers over time; that Slurm really answers so is in tests/slurm."""

import getpass

import pytest

from ltsweep.cluster import ledger, slurm, watch
from ltsweep.cluster.slurm import TaskState
from ltsweep.store.folder import CellFolder

A, B = "a" * 16, "b" * 16
RUNS, GONE = TaskState("RUNNING", "None"), TaskState("COMPLETED", "None")


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Return a function that makes a study of one task, whose state is the next of `states` at each look."""

    def make(statuses, states):
        for key, status in statuses.items():
            (tmp_path / key).mkdir()
            CellFolder(tmp_path, key).set_status(status)
        ledger.make_folder(tmp_path)
        ledger.add(tmp_path, "here", {}, {}, {}, {"7": list(statuses)})
        answers = iter(states)
        monkeypatch.setattr(slurm, "cluster", lambda: "here")
        monkeypatch.setattr(slurm, "tasks", lambda user: {"7": next(answers)} if user == getpass.getuser() else {})
        monkeypatch.setattr(watch.time, "sleep", lambda seconds: None)
        return tmp_path

    return make


def test_a_task_that_is_only_leaving_is_waited_for(study):
    """All its cells have ended, and its process still ends: a failed cell is not its any more a moment later."""
    folder = study({A: "done", B: "failed"}, [RUNS, RUNS, GONE])
    found = watch.Watch(folder).settle([A, B])
    assert {key: (one.status, one.queued) for key, one in found.items()} == {
        A: ("done", False),
        B: ("failed", False),
    }


def test_a_task_that_still_computes_is_not(study):
    folder = study({A: "running", B: "failed"}, [RUNS])
    found = watch.Watch(folder).settle([A, B])
    assert {key: (one.status, one.queued) for key, one in found.items()} == {
        A: ("running", True),
        B: ("failed", True),
    }


def test_a_task_that_never_leaves_is_not_waited_for_without_end(study, monkeypatch):
    monkeypatch.setattr(watch, "_LEAVING", 0.0)
    folder = study({A: "failed"}, [RUNS])
    assert watch.Watch(folder).settle([A])[A].queued
