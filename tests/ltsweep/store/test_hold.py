"""One study, one process: on one machine, and on several that share a file system."""

import contextlib
import itertools
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time

import pytest

from ltsweep.errors import UserError
from ltsweep.store.hold import hold

HOLDER = """
import sys
from pathlib import Path
from ltsweep.store.hold import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Return a process that holds a study until its input ends."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "study")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_study_held_by_another_process_is_refused_and_free_when_that_process_dies(tmp_path, holder):
    study = tmp_path / "study"
    for _ in range(2):
        with (
            pytest.raises(UserError, match=rf"{study} is being computed by process {holder.pid} on ") as caught,
            hold(study),
        ):
            pass
        assert "\n" not in str(caught.value)
    with hold(tmp_path / "other"):
        pass
    holder.kill()
    holder.wait()
    with hold(study):
        assert f"process {os.getpid()}" in (study / ".owner").read_text()


def test_the_heir_of_a_dead_owner_is_named_even_before_it_has_written_its_name(tmp_path, holder):
    owner = tmp_path / "study/.owner"
    heir = owner.read_text()
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    of_dead = json.loads(heir) | {"name": f"process {ended.pid} on this machine", "pid": ended.pid}
    owner.write_text(json.dumps(of_dead))
    writes = threading.Timer(0.3, owner.write_text, [heir])
    writes.start()
    with (
        pytest.raises(UserError, match=f"is being computed by process {holder.pid} on "),
        hold(tmp_path / "study"),
    ):
        pass
    writes.join()


def test_a_hold_ends_with_its_block_even_by_an_exception(tmp_path):
    for _ in range(2):
        with pytest.raises(RuntimeError, match="inside"), hold(tmp_path / "study"):
            raise RuntimeError("inside")
    with hold(tmp_path / "study"), pytest.raises(UserError, match="is being computed by"), hold(tmp_path / "study"):
        pass


def test_a_refused_hold_does_not_take_the_holders_name_away(tmp_path):
    with hold(tmp_path):
        for _ in range(2):
            with pytest.raises(UserError, match=f"process {os.getpid()}"), hold(tmp_path):
                pass


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written .*study=NAME$"), hold(tmp_path / "file/study"):
        pass


# -- two machines on one file system that does not carry locks from one to the other

# A process in namespaces of its own: another host name, another boot, and a lock that is its own alone.
ELSEWHERE = """
hostname elsewhere
mount --bind "$1/boot" /proc/sys/kernel/random/boot_id
mount --bind "$1/lock" "$2/.lock"
shift 2
exec "$@"
"""


@pytest.fixture
def elsewhere(tmp_path):
    """Return a function that lets a process of another machine hold a study, or be turned away."""
    study = tmp_path / "study"
    study.mkdir()
    (study / ".lock").touch()
    (tmp_path / "boot").write_text("11111111-2222-3333-4444-555555555555\n")
    (tmp_path / "lock").touch()
    started = []

    def start():
        command = [sys.executable, "-c", HOLDER, str(study)]
        process = subprocess.Popen(
            ["unshare", "--mount", "--uts", "sh", "-ec", ELSEWHERE, "sh", str(tmp_path), str(study), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    probe = subprocess.run(["unshare", "--mount", "--uts", "hostname", "elsewhere"], check=False, capture_output=True)
    if probe.returncode:
        pytest.skip("makes a machine of its own with unshare, which takes root")
    yield start, study
    for process in started:
        process.kill()
        process.communicate()


def make_old(path, seconds=60):
    """Let time go by for a file."""
    before = path.stat().st_mtime
    os.utime(path, (before - seconds, before - seconds))
    return before - seconds


@pytest.mark.slow
def test_a_study_held_on_another_machine_is_refused_and_free_some_time_after_its_owner_died(elsewhere):
    start, study = elsewhere
    there = start()
    assert there.stdout.readline() == "held\n"
    text = rf"^{study} is being computed by process {there.pid} on elsewhere, heard of \d+ s ago"
    with pytest.raises(UserError, match=text), hold(study):
        pass
    # Its owner renews it, however old it has become.
    old = make_old(study / ".owner")
    while (study / ".owner").stat().st_mtime <= old + 1:
        assert there.poll() is None
        time.sleep(0.05)
    there.kill()
    there.wait()
    with pytest.raises(UserError, match=r"if it is dead, its hold ends 20 s after it was last heard of"), hold(study):
        pass
    make_old(study / ".owner")
    with hold(study):
        assert f"process {os.getpid()} on " in (study / ".owner").read_text()
        second = start()
        assert second.wait() != 0
        assert f"is being computed by process {os.getpid()} on " in second.stderr.read()
    assert not (study / ".owner").exists()


@pytest.mark.slow
def test_an_owner_that_slept_and_was_taken_for_dead_stops_when_it_wakes(elsewhere):
    start, study = elsewhere
    there = start()
    assert there.stdout.readline() == "held\n"
    os.kill(there.pid, signal.SIGSTOP)
    make_old(study / ".owner")
    with hold(study):
        os.kill(there.pid, signal.SIGCONT)
        assert there.wait(timeout=60) == 1
        said = there.stderr.read()
        assert said.strip() == (
            f"ltsweep: {study} was taken over by process {os.getpid()} on {platform.node()}; this command stops here"
        )
        assert f"process {os.getpid()} on " in (study / ".owner").read_text()


@pytest.mark.slow
def test_of_two_machines_that_find_a_dead_owner_at_the_same_time_one_has_the_study(elsewhere):
    start, study = elsewhere
    (study / ".owner").write_text(
        json.dumps(
            {"name": "process 1 on a dead machine", "pid": 1, "boot": "another", "token": "x", "renewed": ".owner"}
        )
    )
    make_old(study / ".owner")
    both = [start(), start()]  # on one other machine, so that its lock decides between these
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(hold(study))
            mine = True
        except UserError:
            mine = False
        lines = [process.stdout.readline() for process in both]
        assert mine + lines.count("held\n") == 1


def test_many_folders_are_held_at_once_and_renewed_as_one(tmp_path):
    folders = [tmp_path / f"{number:016x}" for number in range(5)]
    threads = threading.active_count()
    with hold(*folders):
        assert threading.active_count() == threads + 1
        owners = [json.loads((folder / ".owner").read_text()) for folder in folders]
        assert {os.path.normpath(f / o["renewed"]) for f, o in zip(folders, owners, strict=True)} == {
            str(folders[0] / ".owner")
        }
        with pytest.raises(UserError, match=str(folders[3])), hold(tmp_path / "new", folders[3]):
            pass
        assert not (tmp_path / "new/.owner").exists()
    assert threading.active_count() == threads
    assert not list(tmp_path.glob("*/.owner"))


# An owner on another machine, as this program writes it.
OTHER = {"name": "process 7 on elsewhere", "pid": 7, "boot": "1111", "token": "2222", "renewed": ".owner"}


@pytest.fixture
def claimed(tmp_path, monkeypatch):
    """Return a study that another machine claims; its hold ends in a second where it is not renewed."""
    monkeypatch.setattr("ltsweep.store.hold._EXPIRES", 1.0)
    monkeypatch.setattr("ltsweep.store.hold._WATCHED", 0.8)
    monkeypatch.setattr("ltsweep.store.hold._SETTLE", 0.1)
    monkeypatch.setattr("ltsweep.store.hold._LOOK", 0.1)
    (tmp_path / ".owner").write_text(json.dumps(OTHER))
    return tmp_path


@pytest.mark.parametrize("ahead", [60, 86_400, 10**9])
def test_a_time_of_the_future_that_does_not_move_is_no_sign_of_life(claimed, ahead):
    future = time.time() + ahead
    os.utime(claimed / ".owner", (future, future))
    with hold(claimed):
        assert f"process {os.getpid()} on " in (claimed / ".owner").read_text()
    assert not (claimed / ".owner").exists()


def test_a_time_of_the_future_that_moves_is_one(claimed):
    ended = threading.Event()

    def renew():
        for number in itertools.count():
            os.utime(claimed / ".owner", (time.time() + 1000 + number,) * 2)
            if ended.wait(0.3):
                return

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        with pytest.raises(UserError, match="is being computed by process 7 on elsewhere"), hold(claimed):
            pass
    finally:
        ended.set()
        thread.join()


def test_a_look_does_not_wait_for_a_time_of_the_future(claimed):
    future = time.time() + 1000
    os.utime(claimed / ".owner", (future, future))
    with pytest.raises(UserError, match="is being computed by process 7"), hold(claimed, patient=False):
        pass


@pytest.mark.parametrize(
    "changes",
    [
        {"renewed": "../../../proc/uptime"},
        {"renewed": "/proc/uptime"},
        {"pid": 10**40},
        {"pid": -1},
        {"name": "x" * 10_000},
        {"name": ["a"]},
        {"boot": None},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_an_owner_that_no_process_wrote_is_none(claimed, changes):
    (claimed / ".owner").write_text(json.dumps(OTHER | changes))
    with hold(claimed):
        pass


def test_what_an_owner_is_called_is_shown_as_text(claimed):
    (claimed / ".owner").write_text(json.dumps(OTHER | {"name": "\x1b[2J\nnobody"}))
    with pytest.raises(UserError, match=r"is being computed by \\x1b\[2J nobody"), hold(claimed):
        pass


def test_a_hold_that_cannot_be_read_is_replaced(tmp_path):
    (tmp_path / ".owner").write_text("process 1 on somewhere")
    with hold(tmp_path):
        assert f"process {os.getpid()}" in (tmp_path / ".owner").read_text()
