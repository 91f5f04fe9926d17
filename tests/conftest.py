"""Fixtures for every test folder. Nothing here imports torch, which the analysis does without."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Tests run in more processes than there are cores, where several threads of one only wait for each other.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

# A process that has imported everything, and for each line of its input lets a copy of itself run a program. So a
# program costs a fork in place of some seconds of imports; in all else it is a process as any other, and ends as one.
FORKS = """
import importlib, json, multiprocessing.process, os, runpy, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
waiting = 0
for line in sys.stdin:
    order = json.loads(line)
    if os.fork():
        waiting += 1
        while waiting and os.waitpid(-1, os.WNOHANG)[0]:
            waiting -= 1
        continue
    if child := os.fork():
        print(child, flush=True)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with open(order["files"] + ".ended", "w") as file:
            file.write(f"{code}.")
        os._exit(0)
    os.setsid()
    os.chdir(order["folder"])
    for number, name in enumerate((os.devnull, order["files"] + ".out", order["files"] + ".err")):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(order["environment"])
    multiprocessing.process.ORIGINAL_DIR = sys.path[0] = order["folder"]
    sys.stdin = open(0)
    sys.argv[1:] = order["arguments"]
    runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
    sys.exit()
"""

# A job in a shell's background ignores Ctrl-C, and so would every command that a test starts there and interrupts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Forked:
    """A program in a copy of a process; has what tests use of `subprocess.Popen`."""

    stdout = stderr = None

    def __init__(self, pid, files):
        self.pid = pid
        self.files = files
        self.returncode = None

    def poll(self):
        ended = Path(f"{self.files}.ended")
        if self.returncode is None and ended.exists() and (text := ended.read_text()).endswith("."):
            self.returncode = int(text[:-1])
        return self.returncode

    def wait(self, timeout=300):
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.01)
        return self.returncode

    def communicate(self, timeout=300):
        """Return what it wrote to its output and errors, once it has ended."""
        self.wait(timeout)
        return tuple(Path(f"{self.files}.{name}").read_text() for name in ("out", "err"))

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Forks:
    """Runs programs, each in a copy of one process that has imported `modules` in `environment`."""

    def __init__(self, folder, modules, environment):
        self.folder = folder
        self.started = 0
        self.process = subprocess.Popen(
            [sys.executable, "-c", FORKS, *modules], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip

    def start(self, folder, environment, module, *arguments):
        """Start `python -m module` in `folder`, as the leader of a process group of its own."""
        files = str(self.folder / str(self.started))
        self.started += 1
        order = {"folder": str(folder), "environment": environment, "module": module, "arguments": arguments}
        self.process.stdin.write(json.dumps(order | {"files": files}) + "\n")
        self.process.stdin.flush()
        return Forked(int(self.process.stdout.readline()), files)

    def close(self):
        with self.process:
            self.process.kill()


@pytest.fixture(scope="session")
def forks(tmp_path_factory):
    """Return a function that makes a `Forks` that has imported what trains a cell, for `environment`."""
    modules = ("ltsweep.command", "ltsweep.status", "ltsweep.run.study", "ltsweep.cluster.local", "pyarrow.parquet")
    modules += ("safetensors.torch", "pandas")
    made = []

    def make(environment):
        made.append(Forks(tmp_path_factory.mktemp("forks"), modules, environment))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def fork(forks):
    """Return `Forks.start` in the environment of a user who has set nothing; the first call makes the process."""
    made = []

    def start(folder, module, *arguments):
        unwanted = ("LTSWEEP_DATA", "HYDRA_FULL_ERROR")
        environment = {name: value for name, value in os.environ.items() if name not in unwanted}
        if not made:
            made.append(forks(environment))
        return made[0].start(folder, environment, module, *arguments)

    return start


@pytest.fixture(scope="session")
def mnist_dir():
    """Return the folder that holds MNIST/raw, as LTSWEEP_DATA names it; skip where the files are not there."""
    folder = Path(os.environ.get("LTSWEEP_DATA", "data")).absolute()
    if not (folder / "MNIST/raw/train-images-idx3-ubyte").is_file():
        pytest.skip(f"no MNIST files in {folder / 'MNIST/raw'}; set LTSWEEP_DATA")
    return folder


def pytest_collection_modifyitems(items):
    """Begin with the files that take minutes, so that no process is left with one at the end."""
    first = ("slurm", "attack", "test_interrupted", "test_reliability_kills", "test_streams", "test_memory")
    items.sort(key=lambda item: not any(part.removesuffix(".py") in first for part in item.path.parts))
