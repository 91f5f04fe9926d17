import contextlib
import multiprocessing
import os
import signal
import time

import pytest
import torch
from threadpoolctl import threadpool_info

from ltsweep.run.workers import run_jobs
from ltsweep.show.events import Died


def threads():
    """Return how many threads torch's operators, or numpy's, may take."""
    blas = [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]
    return max(torch.get_num_threads(), *blas)


def squares(job, shared, place):
    """Yield three events of a job, and where it was done."""
    for step in range(3):
        yield step, job * job + shared["offset"], (os.getpid(), threads(), os.getppid())


def placed(job, shared, place):
    """Yield where a job is done; the jobs in `shared` then kill their own process."""
    yield os.getpid(), place
    time.sleep(0.1)
    if job in shared:
        os.kill(os.getpid(), signal.SIGKILL)


def deadly(job, shared, place):
    """Yield a first event; the jobs in `shared` then kill their own process."""
    yield "started"
    if job in shared:
        os.kill(os.getpid(), signal.SIGKILL)
    yield "ended"


def leaving(job, shared, place):
    """Yield a first event; job 1 then ends its process."""
    yield "started"
    if job == 1:
        raise SystemExit(3)
    yield "ended"


def endless(job, shared, place):
    """Yield the process, and never end."""
    yield os.getpid()
    while True:
        time.sleep(0.05)
        yield "still here"


def by_job(events):
    found = {}
    for job, event in events:
        found.setdefault(job, []).append(event)
    return found


def gone(pid):
    """Wait until a process of ours has ended; multiprocessing reaps it."""
    for _ in range(200):
        multiprocessing.active_children()
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


JOBS = [3, 1, 4, 5, 9]
PLACES = ["here", "there", "up", "down"]
SQUARES = {job: [(step, job * job + 100) for step in range(3)] for job in JOBS}


def test_every_job_is_done_whole_by_workers_of_one_thread_that_outlive_their_jobs():
    found = by_job(run_jobs(JOBS, squares, {"offset": 100}, PLACES[:2]))
    assert {job: [event[:2] for event in events] for job, events in found.items()} == SQUARES
    places = [event[2] for events in found.values() for event in events]
    assert {(most, parent) for _, most, parent in places} == {(1, os.getpid())}
    pids = {pid for pid, _, _ in places}
    assert os.getpid() not in pids
    assert len(pids) <= 2
    assert all(gone(pid) for pid in pids)


@pytest.mark.parametrize(("jobs", "workers"), [(JOBS, 1), (JOBS[:1], 4)])
def test_one_job_or_one_worker_stays_in_this_process(jobs, workers):
    found = by_job(run_jobs(jobs, squares, {"offset": 100}, PLACES[:workers]))
    assert {job: [event[:2] for event in events] for job, events in found.items()} == {j: SQUARES[j] for j in jobs}
    assert {event[2][:2] for events in found.values() for event in events} == {(os.getpid(), 1)}


def test_no_jobs_need_no_workers():
    assert list(run_jobs([], squares, {}, PLACES[:4])) == []


def test_killed_processes_take_only_their_jobs_along():
    """Even when every process dies, the waiting jobs are done."""
    found = by_job(run_jobs([0, 1, 2], deadly, {0, 1}, PLACES[:2]))
    assert found == {0: ["started", Died()], 1: ["started", Died()], 2: ["started", "ended"]}


def test_a_process_that_ends_itself_takes_only_its_job_along():
    assert by_job(run_jobs([0, 1], leaving, None, PLACES[:2])) == {0: ["started", "ended"], 1: ["started", Died()]}


def test_a_process_killed_between_two_jobs_takes_no_job_along():
    """Memory runs out when it does, for instance while the driver writes the last event down."""
    done, killed = set(), None
    for job, event in run_jobs([0, 1, 2], squares, {"offset": 0}, PLACES[:2]):
        if event == Died():
            continue
        step, _, (pid, _, _) = event
        if step == 2:
            done.add(job)
        if step == 2 and killed is None:
            killed = pid
            time.sleep(0.5)  # meanwhile the worker says that it has finished, and waits for its next job
            os.kill(killed, signal.SIGKILL)
            time.sleep(0.2)
    assert done == {0, 1, 2}


def test_an_exception_in_the_loop_ends_the_processes():
    pids = set()

    def consume():
        for _, event in run_jobs([0, 1, 2], endless, None, PLACES[:2]):
            pids.add(event)
            if len(pids) == 3:
                raise KeyError("in the loop")

    with contextlib.suppress(KeyError):
        consume()
    pids.remove("still here")
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)
