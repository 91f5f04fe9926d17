"""What a task does when told to stop; the handlers are real, Slurm's commands are shell commands that end alike."""

import os
import signal
import subprocess

import pytest

from ltsweep.cluster.node import Stopped, _stopped_by_signal


@pytest.fixture
def stopped_by(monkeypatch):
    """Tell this process to stop, as submitit does: with a handler that runs a command to requeue the task."""
    before = signal.getsignal(signal.SIGUSR2)
    ran = []

    def stop(command, restarts, max_requeues):
        def requeue(signum, frame):
            ran.append(command)
            subprocess.check_call(["sh", "-c", command])

        monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))
        signal.signal(signal.SIGUSR2, requeue)
        try:
            with _stopped_by_signal(max_requeues):
                os.kill(os.getpid(), signal.SIGUSR2)
        finally:
            assert signal.getsignal(signal.SIGUSR2) is requeue
        return ran

    yield stop
    signal.signal(signal.SIGUSR2, before)


def test_a_requeue_that_ends_its_own_command_is_a_requeue(stopped_by):
    with pytest.raises(SystemExit):
        stopped_by("kill -TERM $$", 0, 1)


def test_a_requeue_that_slurm_refuses_stops_the_task(stopped_by):
    with pytest.raises(Stopped, match=r"cannot be requeued: .* returned non-zero exit status 1"):
        stopped_by("exit 1", 0, 1)


def test_a_task_is_requeued_as_often_as_it_may(stopped_by):
    assert stopped_by("exit 0", 1, 2) == ["exit 0"]
    with pytest.raises(Stopped, match=r"after 2 requeues; hydra.launcher.max_requeues is 2"):
        stopped_by("exit 0", 2, 2)
