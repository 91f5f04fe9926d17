"""Signals that processes of this program leave to the one that started them."""

import contextlib
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker


@contextlib.contextmanager
def left_to_this_process() -> Iterator[None]:
    """Let processes that are started within ignore Ctrl-C, and block SIGTERM and SIGUSR2.

    A terminal and a batch system signal the whole process group, and the driver alone handles that. Signals that arrive
    meanwhile reach this process at the end, but for Ctrl-C.
    """
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with _blocked():
            yield
    finally:
        signal.signal(signal.SIGINT, interrupt)


@contextlib.contextmanager
def _blocked() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    ours = (signal.SIGTERM, signal.SIGUSR2)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ours)
    try:
        resource_tracker.ensure_running()  # else it starts with the first process, and unblocks SIGTERM
        signal.pthread_sigmask(signal.SIG_BLOCK, ours)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
