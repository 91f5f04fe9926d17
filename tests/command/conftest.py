"""The command as its users meet it: a process of its own in an empty folder, and what it leaves on the disk."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors import safe_open

from ltsweep.command import main

# A hanging command is killed after this many seconds; no test measures time.
HANG = 300

# Every run but those on MNIST: no download, and the same numbers on a machine with a GPU.
SMALL = ("dataset=digits", "device=cpu")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class CellFolder:
    """One cell's folder, read without the package that wrote it."""

    path: Path

    @property
    def status(self) -> dict[str, Any]:
        return json.loads((self.path / "status.json").read_text())

    @property
    def config(self) -> dict[str, Any]:
        return yaml.safe_load((self.path / "config.yaml").read_text())

    @property
    def log(self) -> str:
        return (self.path / "cell.log").read_text()

    @property
    def evaluations(self) -> pd.DataFrame:
        return pd.read_parquet(self.path / "evaluations.parquet")

    @property
    def levels(self) -> pd.DataFrame:
        return pd.read_parquet(self.path / "levels.parquet")

    @property
    def initial(self) -> dict[str, np.ndarray]:
        with safe_open(self.path / "tickets/init.safetensors", framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict

    def mask(self, level: int) -> dict[str, np.ndarray]:
        """Return booleans, true where a weight survives at `level`, which is 1 or more."""
        with safe_open(self.path / f"tickets/level_{level:02d}.safetensors", framework="numpy") as file:
            shapes = json.loads(file.metadata()["shapes"])
            return {
                name: np.unpackbits(file.get_tensor(name))[: np.prod(shape)].astype(bool).reshape(shape)
                for name, shape in shapes.items()
            }

    def levels_logged(self) -> list[list[int]]:
        """Return the levels that each start of this cell finished, in the order of the log."""
        starts: list[list[int]] = []
        for line in self.log.splitlines():
            if "  starts " in line:
                starts.append([])
            elif found := re.search(r"  level +(\d+)  remaining ", line):
                starts[-1].append(int(found[1]))
        return starts


@dataclass(frozen=True)
class Study:
    """A study's folder."""

    path: Path

    def cells(self) -> dict[str, CellFolder]:
        return {
            path.name: CellFolder(path)
            for path in sorted(self.path.iterdir())
            if re.fullmatch("[0-9a-f]{16}", path.name)
        }

    def statuses(self) -> dict[str, str]:
        return {key: folder.status["status"] for key, folder in self.cells().items()}

    def cell(self, **wanted: Any) -> CellFolder:
        """Return the one cell whose groups have these choices and whose numbers these values."""

        def value(config: dict[str, Any], name: str) -> Any:
            found = config[name]
            return found.get("value", found["name"]) if isinstance(found, dict) else found

        folders = self.cells().values()
        (found,) = [f for f in folders if all(value(f.config, name) == want for name, want in wanted.items())]
        return found

    def snapshot(self) -> dict[str, tuple[int, bytes]]:
        """Return every file's time of change and content, but for the lock of the command that runs."""
        files = [path for path in self.path.rglob("*") if path.is_file() and path.name not in (".lock", ".owner")]
        return {str(path.relative_to(self.path)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    def assert_same_records(self, other: "Study", keys: Sequence[str] | None = None, tolerance: float = 0.0) -> None:
        """Fail unless the cells of both hold the same numbers, and masks, in all but the seconds they took."""
        mine, theirs = self.cells(), other.cells()
        if keys is None:
            assert mine.keys() == theirs.keys()
        for key in mine if keys is None else keys:
            a, b = mine[key], theirs[key]
            for left, right in ((a.evaluations, b.evaluations), (a.levels, b.levels)):
                assert len(left) > 0
                pd.testing.assert_frame_equal(
                    left.drop(columns="seconds"),
                    right.drop(columns="seconds"),
                    **({"rtol": 0, "atol": tolerance} if tolerance else {"check_exact": True}),
                )
            tickets = sorted(path.name for path in (a.path / "tickets").iterdir())
            assert tickets == sorted(path.name for path in (b.path / "tickets").iterdir())
            for name in tickets if not tolerance else ["init.safetensors"]:
                assert (a.path / "tickets" / name).read_bytes() == (b.path / "tickets" / name).read_bytes(), name


class Command:
    """`python -m ltsweep` in one folder."""

    def __init__(self, folder: Path, fork: Callable[..., Any]) -> None:
        self.folder = folder
        self.fork = fork
        self.started: list[subprocess.Popen[str]] = []

    def __call__(self, *arguments: str, code: int = 0, python: Sequence[str] = (), **env: str) -> Ended:
        """Run to the end and check the exit code; a run that went well says nothing on stderr."""
        process = self.start(*arguments, python=python, **env)
        ended = self.wait(process)
        assert ended.code == code, f"exit code {ended.code}\n{ended.out}\n{ended.err}"
        if code == 0 and not python:
            assert ended.err == ""
        return ended

    def inside(self, *arguments: str, code: int = 0) -> Ended:
        """Run in this process, which spares the imports; with one worker, so that it starts none."""
        out, err = io.StringIO(), io.StringIO()
        folder, argv, environment = Path.cwd(), sys.argv, dict(os.environ)
        threads = torch.get_num_threads()
        sys.argv = ["ltsweep"]
        os.environ.pop("LTSWEEP_DATA", None)
        os.environ.pop("HYDRA_FULL_ERROR", None)
        os.chdir(self.folder)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main(arguments if any(text.startswith("workers=") for text in arguments) else [*arguments, "workers=1"])
            found: Any = 0
        except SystemExit as exit_:
            found = exit_.code
        finally:
            os.chdir(folder)
            sys.argv = argv
            os.environ.clear()
            os.environ.update(environment)
            torch.set_num_threads(threads)
            torch.set_flush_denormal(False)
        ended = Ended(found, out.getvalue(), err.getvalue())
        assert ended.code == code, f"exit code {ended.code}\n{ended.out}\n{ended.err}"
        if code == 0:
            assert ended.err == ""
        return ended

    def start(self, *arguments: str, python: Sequence[str] = (), **env: str) -> "subprocess.Popen[str]":
        """Start the command as the leader of a process group of its own.

        It is a copy of a process that has its imports done, unless it is to have an environment or flags of its own.
        """
        if not python and not env:
            self.started.append(self.fork(self.folder, "ltsweep", *arguments))
            return self.started[-1]
        clean = {name: value for name, value in os.environ.items() if name not in ("LTSWEEP_DATA", "HYDRA_FULL_ERROR")}
        process = subprocess.Popen(
            [sys.executable, *python, "-m", "ltsweep", *arguments],
            cwd=self.folder,
            env=clean | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def wait(self, process: "subprocess.Popen[str]") -> Ended:
        out, err = process.communicate(timeout=HANG)
        return Ended(process.returncode, out, err)

    def study(self, name: str = "default") -> Study:
        return Study(self.folder / "multirun" / name)

    def until(self, process: "subprocess.Popen[str]", holds: Callable[[], bool]) -> None:
        """Return once `holds` does; fail if the command ends before."""
        deadline = time.monotonic() + HANG
        while not holds():
            assert process.poll() is None, f"ended before it could be met half-way\n{process.communicate()}"
            assert time.monotonic() < deadline, "hangs"
            time.sleep(0.01)

    def level_reached(self, study: str, level: int, cells: int = 1) -> bool:
        """Say whether so many unfinished cells have `level` behind them."""
        found = [json.loads(path.read_text()) for path in self.study(study).path.glob("*/status.json")]
        return sum(status["status"] == "running" and status["level"] >= level for status in found) >= cells

    def clean_up(self) -> None:
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()


@pytest.fixture
def command(tmp_path: Path, fork: Callable[..., Any]) -> Iterator[Command]:
    """The command in an empty folder."""
    command = Command(tmp_path, fork)
    yield command
    command.clean_up()


@pytest.fixture(scope="session")
def command_in(fork: Callable[..., Any]) -> Iterator[Callable[[Path], Command]]:
    """Make the command of a folder, for studies that several tests read."""
    made: list[Command] = []

    def make(folder: Path) -> Command:
        made.append(Command(folder, fork))
        return made[-1]

    yield make
    for command in made:
        command.clean_up()


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """Overrides for a run that takes no download and no GPU."""
    return SMALL


@pytest.fixture(scope="session")
def descendants() -> Callable[[int], dict[int, str]]:
    """Return a function that reads a process's living descendants off /proc: process id -> command line."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("finds child processes in /proc")

    def read() -> dict[int, tuple[int, str]]:
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                state, parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
                line = (path / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue  # ended meanwhile
            if state not in "ZX":
                found[int(path.name)] = (int(parent), line)
        return found

    def descendants(root: int) -> dict[int, str]:
        processes = read()
        family = {root}
        while more := {pid for pid, (parent, _) in processes.items() if parent in family} - family:
            family |= more
        return {pid: processes[pid][1] for pid in family - {root}}

    return descendants
