"""What is made of Slurm's answers over time; that Slurm really answers so is in tests/slurm."""

import getpass

import pytest

from ltsweep.cluster import follow, ledger, slurm, watch
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


def test_a_status_that_cannot_be_read_is_said_so_and_left_as_it_is(study):
    folder = study({A: "running", B: "running"}, [GONE, GONE, GONE])
    (folder / A / "status.json").write_text("torn")
    with_other = watch.Watch(folder)
    found = with_other.settle([A, B])
    assert (found[A].status, found[A].error, found[A].level) == ("unreadable", "status.json is not whole", -1)
    assert found[A].settled
    assert found[B].status == "running"  # not marked yet: time does not pass in this test
    assert (folder / A / "status.json").read_text() == "torn"


def test_a_status_of_another_version_ends_no_look(study):
    folder = study({A: "running", B: "done"}, [RUNS])
    (folder / A / "status.json").write_text('{"schema": 99, "status": "running", "level": 3}')
    found = watch.Watch(folder).look([A, B])
    assert found[A].status == "unreadable"
    assert "was written by a newer ltsweep" in found[A].error
    assert found[A].queued
    assert not found[A].settled
    assert found[B].status == "done"


def test_a_table_that_is_not_whole_gives_no_scores(study):
    folder = study({A: "running"}, [RUNS])
    one = watch.Watch(folder).look([A])[A]
    for content in (None, b"PAR1", b"\0" * 100):
        if content is not None:
            (folder / A / "levels.parquet").write_bytes(content)
        news = follow._news(folder, A, one)
        assert (news.status, news.score, news.remaining) == ("running", None, None)


def test_only_the_studys_own_jobs_are_cancelled(study, monkeypatch):
    folder = study({A: "running", B: "running"}, [RUNS] * 9)
    cancelled = []
    monkeypatch.setattr(slurm, "why_not_ours", lambda job, name, where: "its name is x" if job == "7" else "")
    monkeypatch.setattr(slurm, "cancel", cancelled.extend)
    standings, left = follow.cancel(watch.Watch(folder), [A, B])
    assert cancelled == []
    assert left == {"7": "its name is x"}
    assert standings[A].queued
