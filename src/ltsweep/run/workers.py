"""Worker processes of one thread, each running job after job. If a worker dies, only its present job fails."""

import ctypes
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import current_process
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

import numpy as np
import torch
import torch.multiprocessing
from threadpoolctl import threadpool_limits

from ltsweep.show.events import Died
from ltsweep.show.streams import keep_streams
from ltsweep.signals import left_to_this_process

J = TypeVar("J")
P = TypeVar("P")
Work = Callable[[J, Any, P], Iterator[Any]]

_FINISHED = "finished"


def prepare_process() -> None:
    """Set this process up to train: one thread, and denormals flushed to zero. Pruning fills Adam's state with them.

    What checks and reckons wants one thread too: on a busy machine several take ten times as long for small operators.
    """
    torch.set_num_threads(1)
    threadpool_limits(1)  # numpy's too
    for kind in (np.float32, np.float64):
        np.finfo(kind)  # kept by numpy: computed after the flush, numpy up to 2.2 warns that there are no denormals
    torch.set_flush_denormal(True)


def run_jobs(jobs: Sequence[J], work: Work[J, P], shared: Any, places: Sequence[P]) -> Iterator[tuple[J, Any]]:
    """Yield (job, event) for every event of `work(job, shared, place)`, run in one process for each place.

    A process stays at its place, such as a GPU, and takes a new job after each job. A process that dies (killed, out of
    memory) yields (job, Died()) and is replaced. A single job, or a single place, runs in this process. Closing the
    generator, as an exception in the caller does, ends the processes.
    """
    places = places[: len(jobs)]
    if len(places) <= 1:
        prepare_process()
        for job in jobs:
            yield from ((job, event) for event in work(job, shared, places[0]))
        return
    waiting: deque[J] = deque(jobs)
    busy: dict[_Worker, J] = {}

    def start(worker: _Worker) -> None:
        """Send a worker the next job. If the worker died while idle, start a new one for the job."""
        while True:
            try:
                worker.connection.send(waiting[0])
                break
            except OSError:
                worker.end()
                worker = _Worker(work, shared, worker.place)
        busy[worker] = waiting.popleft()

    try:
        for place in places:
            start(_Worker(work, shared, place))
        while busy:
            for ready in wait([worker.connection for worker in busy]):
                worker = next(w for w in busy if w.connection is ready)
                try:
                    event = worker.connection.recv()
                except (EOFError, OSError):
                    worker.end()
                    yield busy.pop(worker), Died()
                    if waiting:
                        start(_Worker(work, shared, worker.place))
                    continue
                if event != _FINISHED:
                    yield busy[worker], event
                    continue
                del busy[worker]
                if waiting:
                    start(worker)
                else:
                    worker.end()
    finally:
        for worker in busy:
            worker.end()


class _Worker:
    """A worker process, and the driver's end of the pipe to it."""

    def __init__(self, work: Work[Any, Any], shared: Any, place: Any) -> None:
        self.place = place
        context = torch.multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, work, shared, place, os.getpid()), daemon=True)
        with left_to_this_process():
            self.process.start()
        theirs.close()  # so that the pipe ends when the process does

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def _serve(connection: Connection, work: Work[Any, Any], shared: Any, place: Any, driver: int) -> None:
    """Run the jobs from the pipe until it closes."""
    if sys.platform == "linux":
        # Die with the driver, even a killed one: the next command must not meet a second writer.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != driver:
        return
    current_process().daemon = False  # a daemon may start no processes, such as those that decode pictures
    keep_streams(tell=False)  # they are the driver's, which tells
    prepare_process()
    try:
        while True:
            job = connection.recv()
            for event in work(job, shared, place):
                connection.send(event)
            connection.send(_FINISHED)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
