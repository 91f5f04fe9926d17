"""A throwaway Slurm: two CPUs' worth of one node, two GPUs that are character devices, no database, no root needed."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ltsweep.conf
import pandas as pd
import pytest

from hydra_plugins.ltsweep_launcher import local

# Every wait of a test ends after this many seconds; none measures speed.
HANG = 240
MAX_ARRAY = 4

SLURM_CONF = """
ClusterName=throwaway
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=0,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=3000
SlurmUser={user}
SlurmdUser={user}
SlurmdSpoolDir={folder}/spool
StateSaveLocation={folder}/ctld
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=1
MinJobAge=300
InactiveLimit=0
MaxArraySize={max_array}
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherParams=OverMemoryKill
JobAcctGatherFrequency=task=1
AccountingStorageType=accounting_storage/none
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=16000 Gres=gpu:2 State=UNKNOWN
PartitionName=test Nodes={host} Default=YES MaxTime=UNLIMITED State=UP
PartitionName=short Nodes={host} MaxTime=10 State=UP
"""


def pytest_collection_modifyitems(items):
    """Mark every test beside this file."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slurm)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """Start a Slurm of our own, and stop it at the end; yields the environment that talks to it."""
    with throwaway(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@contextlib.contextmanager
def throwaway(folder, **changes):
    """Run a Slurm whose every file is in `folder`, with `changes` to its configuration; yields its environment."""
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(name, path=_PATH) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed; apt-get install slurm-wlm munge")
    for name in ("spool", "ctld"):
        (folder / name).mkdir()
    host = socket.gethostname().partition(".")[0]
    gpus = "".join(f"NodeName={host} Name=gpu File={device}\n" for device in ("/dev/null", "/dev/zero"))
    (folder / "gres.conf").write_text(gpus)
    names = {"host": host, "folder": folder, "user": _user(), "ports": _free_ports(2), "max_array": MAX_ARRAY}
    lines = [line for line in SLURM_CONF.format(**names).splitlines() if line.partition("=")[0] not in changes]
    lines += [f"{name}={value}" for name, value in changes.items()]
    (folder / "slurm.conf").write_text("\n".join(lines) + "\n")
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    copy_package(folder / "site")
    environment = {
        name: value for name, value in os.environ.items() if name not in ("LTSWEEP_DATA", "HYDRA_FULL_ERROR")
    }
    environment |= {
        "SLURM_CONF": str(folder / "slurm.conf"),
        "PATH": _PATH,
        "PYTHONPATH": str(folder / "site"),
        "COLUMNS": "300",  # tables in one line
    }

    def run(*command, check=True):
        return subprocess.run(
            command, env=environment, check=check, timeout=60, capture_output=True, text=True, stdin=subprocess.DEVNULL
        ).stdout

    files = {"key-file": key, "socket": "munge.sock", "pid-file": "munge.pid", "log-file": "munge.log"}
    flags = [f"--{flag}={folder / name}" for flag, name in (files | {"seed-file": "munge.seed"}).items()]
    try:
        run("munged", *flags, "--num-threads=1", "--force")
        start_daemon("slurmctld", environment)
        start_daemon("slurmd", environment)
        _until(lambda: "idle" in run("sinfo", "-h", "-o", "%T", check=False), "Slurm does not start")
        yield environment
    finally:
        run("scancel", "--user", _user(), check=False)
        run("scontrol", "shutdown", check=False)
        for name in ("slurmd.pid", "slurmctld.pid", "munge.pid"):
            _end(folder / name)


def start_daemon(name, environment):
    """Start slurmctld or slurmd, without its children holding the pipes that this process reads."""
    subprocess.run([name, "-c"], env=environment, check=True, timeout=60, stdout=subprocess.DEVNULL)


def copy_package(site):
    """Copy the package, so that a task meets the code that it was submitted with, whatever is edited meanwhile."""
    parts = {
        "ltsweep": ltsweep.__file__,
        "ltsweep/conf": ltsweep.conf.__file__,
        "hydra_plugins/ltsweep_launcher": local.__file__,
    }
    for name, file in parts.items():
        shutil.copytree(Path(file).parent, site / name, ignore=shutil.ignore_patterns("__pycache__"))


_PATH = os.environ["PATH"] + os.pathsep + "/usr/sbin"


def _user() -> str:
    import getpass

    return getpass.getuser()


def _free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _end(pid_file):
    """End the daemon that wrote this file, if it has not ended already."""
    try:
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
    except (OSError, ValueError):
        return


def _until(holds, otherwise):
    deadline = time.monotonic() + HANG
    while not (found := holds()):
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.2)
    return found


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


class Cluster:
    """`python -m ltsweep` and Slurm's commands in one folder."""

    # No download, no GPU needed, one process a task; small packs, so that a grid of four is two tasks.
    GRID = ("-m", "dataset=digits", "device=cpu", "hydra/launcher=slurm", "init=xavier_u,kaiming_n", "lr=1e-3,2e-3")
    TASKS = ("hydra.launcher.cells_per_task=2", "hydra.launcher.cpus_per_task=1", "hydra.launcher.poll_seconds=0.5")
    SMALL = ("levels=1", "iterations=20")
    # Long enough to be met in the middle.
    MIDDLE = ("levels=4", "iterations=400", "evaluate_every=200", "checkpoint_every=0.2")

    def __init__(self, folder: Path, environment: dict[str, str], fork: Callable[..., Any]) -> None:
        self.folder = folder
        self.environment = environment
        self.fork = fork
        self.started: list[subprocess.Popen[str]] = []

    def __call__(self, *arguments: str, code: int = 0, **environment: str) -> Ended:
        """Run the grid on Slurm to its end and check the exit code."""
        ended = self.wait(self.start(*arguments, **environment))
        assert ended.code == code, f"exit code {ended.code}\n{ended.out}\n{ended.err}"
        if code == 0:
            assert ended.err == ""
        return ended

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        flags = [argument for argument in arguments if argument.startswith("--")]  # Hydra takes them in front alone
        choices = [argument for argument in arguments if argument not in flags]
        return self._run("ltsweep", *flags, *self.GRID, *self.TASKS, *choices, **environment)

    def _run(self, module: str, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """Start a program, as a copy of a process that has its imports done unless it is to find other modules."""
        if "PYTHONPATH" not in environment:
            self.started.append(self.fork(self.folder, self.environment | environment, module, *arguments))
            return self.started[-1]
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def wait(self, process: "subprocess.Popen[str]") -> Ended:
        out, err = process.communicate(timeout=HANG)
        return Ended(process.returncode, out, err)

    def local(self, *arguments: str, code: int = 0) -> Ended:
        """Run the grid on this machine, in one process."""
        grid = [argument for argument in (*self.GRID, *arguments) if not argument.startswith("hydra")]
        process = self._run("ltsweep", *grid, "workers=1")
        ended = self.wait(process)
        assert ended.code == code, f"exit code {ended.code}\n{ended.out}\n{ended.err}"
        return ended

    def status(self, *arguments: str, study: str = "default", code: int = 0, **environment: str) -> Ended:
        """Run `python -m ltsweep.status`."""
        ended = self.wait(self._run("ltsweep.status", f"multirun/{study}", *arguments, **environment))
        assert ended.code == code, f"exit code {ended.code}\n{ended.out}\n{ended.err}"
        return ended

    def standings(self, study: str = "default") -> dict[str, dict[str, Any]]:
        """Return what `status --json` says, by key."""
        return {cell["key"]: cell for cell in json.loads(self.status("--json", study=study).out)["cells"]}

    def slurm(self, *command: str, check: bool = True) -> str:
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=check, timeout=60
        ).stdout

    def statuses(self, study: str = "default") -> dict[str, dict[str, Any]]:
        files = (self.folder / "multirun" / study).glob("*/status.json")
        return {path.parent.name: json.loads(path.read_text()) for path in files}

    def how(self, study: str = "default") -> list[str]:
        """Return the statuses of all cells, sorted."""
        return sorted(status["status"] for status in self.statuses(study).values())

    def tasks(self, study: str = "default") -> dict[str, list[str]]:
        """Return task -> keys, over all job arrays of a study, oldest first."""
        files = sorted((self.folder / "multirun" / study / ".submitit").glob("*.json"))
        return {task: keys for path in files for task, keys in json.loads(path.read_text())["tasks"].items()}

    def log(self, key: str, study: str = "default") -> str:
        return (self.folder / "multirun" / study / key / "cell.log").read_text()

    def task_log(self, task: str, study: str = "default") -> str:
        return (self.folder / "multirun" / study / ".submitit" / f"{task}_0_log.err").read_text()

    def levels(self, study: str = "default") -> dict[str, pd.DataFrame]:
        files = (self.folder / "multirun" / study).glob("*/levels.parquet")
        return {path.parent.name: pd.read_parquet(path).drop(columns="seconds") for path in files}

    def until(self, holds: Callable[[], Any], process: "subprocess.Popen[str] | None" = None) -> Any:
        """Return what `holds` does once it is true; fail if the command ends before."""

        def held() -> Any:
            found = holds()
            assert found or process is None or process.poll() is None, f"ended before\n{process.communicate()}"
            return found

        return _until(held, "hangs")

    def trained(self, task: str, study: str = "default", level: int = 0) -> bool:
        """Say whether each cell of a task has `level` behind it."""
        statuses = self.statuses(study)
        return all(statuses[key]["level"] >= level for key in self.tasks(study)[task])

    def process_of(self, task: str) -> int:
        """Return the process that computes a task."""
        job, _, index = task.partition("_")
        names = (f"ARRAY_JOB_ID={job}", f"ARRAY_TASK_ID={index}") if index else (f"JOB_ID={job}",)
        wanted = [f"SLURM_{name}".encode() + b"\0" for name in names]
        for path in Path("/proc").glob("[0-9]*"):
            try:
                environment = (path / "environ").read_bytes() + b"\0"
                command = (path / "cmdline").read_bytes()
            except OSError:
                continue
            ours = (
                all(name in environment for name in wanted) and self.environment["SLURM_CONF"].encode() in environment
            )
            if ours and command.startswith(sys.executable.encode() + b"\0-u\0"):
                return int(path.name)
        raise AssertionError(f"no process of {task}")

    def node_processes(self) -> list[int]:
        """Return what runs on the node for its tasks: what Slurm started there, and the daemons that watch over it."""
        ours = b"SLURM_CONF=" + self.environment["SLURM_CONF"].encode()
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                environment = (path / "environ").read_bytes().split(b"\0")
                command = (path / "cmdline").read_bytes()
            except OSError:
                continue
            of_task = any(line.startswith(b"SLURM_JOB_ID=") for line in environment)
            if ours in environment and (of_task or command.startswith((b"slurmstepd", b"slurmd"))):
                found.append(int(path.name))
        return found

    def start_daemon(self, name: str) -> None:
        start_daemon(name, self.environment)

    def clean_up(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()
        for path in (self.folder / "multirun").glob("*"):
            tasks = self.tasks(path.name)
            if tasks:
                self.slurm("scancel", "--quiet", *tasks, check=False)


@pytest.fixture(scope="session")
def warm(slurm, forks):
    """Start a program on the throwaway Slurm in a copy of a process that has its imports done."""
    return forks(slurm).start


@pytest.fixture
def cluster(slurm, warm, tmp_path):
    """The command, on the throwaway Slurm, in an empty folder."""
    made = Cluster(tmp_path, slurm, warm)
    yield made
    made.clean_up()


@pytest.fixture(scope="module")
def shared(slurm, warm, tmp_path_factory):
    """The same in a folder that the tests of a file share."""
    made = Cluster(tmp_path_factory.mktemp("shared"), slurm, warm)
    yield made
    made.clean_up()


@pytest.fixture
def frail(tmp_path, forks):
    """A Slurm that gives a silent node up after seconds, and leaves it to its administrator to take it back."""
    with throwaway(tmp_path, SlurmdTimeout=3, MessageTimeout=2, ReturnToService=0) as environment:
        made = Cluster(tmp_path, environment, forks(environment).start)
        yield made
        made.clean_up()
