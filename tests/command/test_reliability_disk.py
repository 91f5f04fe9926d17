"""A disk that takes no more, and files that are not what was written: one line, nothing lost, nothing wrong kept."""

import contextlib
import os
import pickle
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

LEVELS = 2
GRID = ("-m", "init=xavier_u,kaiming_n", "seed=0,1", f"levels={LEVELS}", "iterations=60", "stack_size=2")
ENDING = "; what was finished is kept, and the same command goes on from it\n"


@pytest.fixture(scope="module")
def undisturbed(command_in, small, tmp_path_factory):
    """Return the study as a run gives it that nothing stopped."""
    command = command_in(tmp_path_factory.mktemp("undisturbed"))
    command.inside(*GRID, *small)
    return command.study()


def mount(*arguments):
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounts a small disk, which takes root: {done.stderr.strip()}")


@pytest.fixture
def disk(command):
    """Return a function that makes the folder of results a disk of so many kilobytes, or makes that larger."""
    folder = command.folder / "multirun"
    folder.mkdir()
    mounted = []

    def sized(kilobytes):
        again = ["-o", f"remount,size={kilobytes}k", folder]
        mount(*(again if mounted else ["-t", "tmpfs", "-o", f"size={kilobytes}k", "none", folder]))
        mounted.append(kilobytes)

    yield sized
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder):
    """Fill a disk to its last byte; returns the file to remove."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1024))
    return filler


def assert_stopped(ended, reason):
    assert "Traceback" not in ended.out + ended.err
    assert ended.err.count("\n") == 1, ended.err
    assert ended.err.startswith("ltsweep: multirun/default/")
    assert f"cannot be written: {reason}" in ended.err
    assert ended.err.endswith(ENDING)


@pytest.mark.parametrize("kilobytes", [500, 1100, 1500])
def test_a_full_disk_stops_the_command_and_it_goes_on_where_there_is_room(command, small, undisturbed, disk, kilobytes):
    """Wherever it happens to be full: at the initial weights, the checkpoint or the tables."""
    disk(kilobytes)
    ended = command.inside(*GRID, *small, "checkpoint_every=0", code=1)
    assert_stopped(ended, "No space left on device")
    assert "failed" not in command.study().statuses().values()
    disk(32_000)
    command.inside(*GRID, *small)
    command.study().assert_same_records(undisturbed)
    assert not list(command.study().path.rglob(".*.[0-9]*"))


@pytest.mark.slow
def test_a_disk_that_fills_up_under_two_workers_stops_both(command, small, undisturbed, disk):
    disk(32_000)
    process = command.start(*GRID, *small, "workers=2", "checkpoint_every=0")
    command.until(process, lambda: command.level_reached("default", 0))
    os.killpg(process.pid, signal.SIGSTOP)
    filler = fill(command.folder / "multirun")
    os.killpg(process.pid, signal.SIGCONT)
    ended = command.wait(process)
    assert ended.code == 1
    assert_stopped(ended, "No space left on device")
    assert "failed" not in command.study().statuses().values()
    filler.unlink()
    command.inside(*GRID, *small)
    command.study().assert_same_records(undisturbed)


@pytest.mark.slow
def test_a_folder_that_becomes_read_only_stops_the_command(command, small, undisturbed):
    process = command.start(*GRID, *small, "workers=1", "checkpoint_every=0")
    command.until(process, lambda: command.level_reached("default", 0))
    os.killpg(process.pid, signal.SIGSTOP)
    folder = next(f.path for f in command.study().cells().values() if f.status["status"] == "running")
    mount("--bind", folder, folder)
    try:
        mount("-o", "remount,ro,bind", folder)
        os.killpg(process.pid, signal.SIGCONT)
        ended = command.wait(process)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    assert ended.code == 1
    assert_stopped(ended, "Read-only file system")
    assert f"{folder.name}/" in ended.err
    command.inside(*GRID, *small)
    command.study().assert_same_records(undisturbed)


def test_a_file_that_may_not_grow_stops_the_command(command, small):
    """As under a quota, for users who cannot mount: the limit that every process has on the size of its files."""
    limited = ["-c", "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); "
               "runpy.run_module('ltsweep', run_name='__main__')"]  # fmt: skip
    process = subprocess.run(
        [__import__("sys").executable, *limited, *small, "levels=0", "iterations=1"],
        cwd=command.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 1
    assert process.stderr.count("\n") == 1
    assert "tickets/init.safetensors cannot be written: File too large" in process.stderr
    command.inside(*small, "levels=0", "iterations=1")
    assert set(command.study().statuses().values()) == {"done"}


# -- files that are not what was written

ONE = ("levels=2", "iterations=30", "seed=0", "method.rewind=5it")
FILES = ("config.yaml", "status.json", "evaluations.parquet", "levels.parquet", "tickets/init.safetensors")
FILES = (*FILES, "tickets/level_01.safetensors", "tickets/level_02.safetensors")
FILES = (*FILES, "tickets/weights_00_5.safetensors")


class Planted:
    """Pickles as this, and leaves a mark when it is loaded."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


SPOIL = {
    "empty": lambda path: path.write_bytes(b""),
    "torn": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "one bit": flip,
    "foreign": lambda path: path.write_bytes(b"<html>not found</html>\n" * 50),
    "a pickle": lambda path: path.write_bytes(pickle.dumps(Planted(path.parent / "ran"))),
    "a link": lambda path: (path.rename(path.parents[3] / "mine"), path.symlink_to(path.parents[3] / "mine")),
}


@pytest.fixture(scope="module")
def finished(command_in, small, tmp_path_factory):
    """Return a study of one finished cell, to be copied."""
    command = command_in(tmp_path_factory.mktemp("finished"))
    command.inside(*ONE, *small)
    return command.study()


@pytest.mark.parametrize("kind", SPOIL)
@pytest.mark.parametrize("name", FILES)
def test_a_broken_file_of_a_finished_cell_is_named_and_the_cell_computed_again(command, small, finished, name, kind):
    shutil.copytree(finished.path, command.study().path)
    (cell,) = command.study().cells().values()
    spoilt = cell.path / name
    SPOIL[kind](spoilt)
    ended = command.inside(*ONE, *small)
    (line,) = [line for line in ended.out.splitlines() if line.startswith(f"multirun/default/{cell.path.name}/")]
    assert line.startswith(f"multirun/default/{cell.path.name}/{name} ")
    assert line in cell.log
    assert (cell.path / ".broken" / spoilt.name).exists()
    assert "nothing to compute" in ended.out if name == "config.yaml" else "1 to compute" in ended.out
    command.study().assert_same_records(finished)
    assert cell.config == next(iter(finished.cells().values())).config
    assert not list(cell.path.rglob("ran"))
    assert not (cell.path / name).is_symlink()
    if kind == "torn":  # and then there is nothing wrong any more
        before = command.study().snapshot()
        command.inside(*ONE, *small)
        assert command.study().snapshot() == before


@pytest.fixture(scope="module")
def half_way(command_in, small, tmp_path_factory):
    """Return a study of one cell that was killed in the middle of a level, to be copied."""
    command = command_in(tmp_path_factory.mktemp("half_way"))
    process = command.start(*ONE, *small, "checkpoint_every=0")
    command.until(process, lambda: bool(list(command.study().path.glob(".stacks/*.safetensors"))))
    os.killpg(process.pid, signal.SIGKILL)
    command.wait(process)
    return command.study()


@pytest.mark.parametrize("kind", ["empty", "torn", "one bit", "foreign", "a pickle", "a link"])
def test_a_broken_checkpoint_is_named_and_its_level_begun_again(command, small, finished, half_way, kind):
    shutil.copytree(half_way.path, command.study().path)
    (checkpoint,) = command.study().path.glob(".stacks/*.safetensors")
    SPOIL[kind](checkpoint)
    ended = command.inside(*ONE, *small)
    (line,) = [line for line in ended.out.splitlines() if ".stacks/" in line]
    assert line.startswith(f"multirun/default/.stacks/{checkpoint.name} ")
    assert "is begun again" in line
    (cell,) = command.study().cells().values()
    assert line in cell.log
    assert os.path.lexists(command.study().path / ".broken" / checkpoint.name)
    assert not list(command.folder.rglob("ran"))
    command.study().assert_same_records(finished)


@pytest.mark.parametrize("name", ["", "tickets"])
def test_a_folder_that_is_a_link_is_refused_and_nothing_outside_is_touched(command, small, finished, name):
    shutil.copytree(finished.path, command.study().path)
    (cell,) = command.study().cells().values()
    outside = command.folder / "outside"
    (cell.path / name).rename(outside)
    (cell.path / name).symlink_to(outside)
    before = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    for force in ("force=false", "force=true"):
        ended = command.inside(*ONE, *small, force, code=2)
        assert ended.err.startswith(f"ltsweep: multirun/default/{cell.path.name}")
        assert "is a symbolic link" in ended.err
        assert ended.err.count("\n") == 1
        assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["multirun/default", "multirun/default/.stacks"])
def test_a_study_that_is_a_link_is_refused(command, small, name):
    outside = command.folder / "outside"
    outside.mkdir()
    path = command.folder / name
    path.parent.mkdir(parents=True)
    path.symlink_to(outside)
    ended = command.inside(*ONE, *small, "checkpoint_every=0", code=2)
    assert "is a symbolic link" in ended.err
    assert ended.err.count("\n") == 1
    assert list(outside.iterdir()) == []


def test_multirun_itself_may_be_a_link(command, small, tmp_path_factory):
    (command.folder / "multirun").symlink_to(tmp_path_factory.mktemp("scratch"))
    assert "1 done" in command.inside(*small, "levels=0", "iterations=1").out
