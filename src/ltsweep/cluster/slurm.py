"""Slurm's state, asked of its own commands. None of them needs an accounting database."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ltsweep.errors import BrokenFileError, UserError
from ltsweep.store import disk
from ltsweep.words import shown

# States of a task that waits to begin, or to begin again.
_WAITS = ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT")
# States of a task that is on a node.
_RUNS = ("CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING")
# Seconds after which a command that hangs counts as no answer; a busy controller takes ten or more.
_TIMEOUT = 60
# Tasks that one scancel is given: their names fit into a command line.
_AT_ONCE = 500
# Bytes at the end of a task's log among which slurmstepd says why it ended the task.
_TAIL = 10_000


@dataclass(frozen=True)
class TaskState:
    """One task of a job array (`12_3`), or one job (`12`), as squeue shows it."""

    state: str
    reason: str

    @property
    def waits(self) -> bool:
        """Return whether the task is in the queue and not on a node."""
        return self.state in _WAITS

    @property
    def alive(self) -> bool:
        """Return whether the task is in the queue or on a node."""
        return self.state in (*_WAITS, *_RUNS)


def check_commands() -> None:
    """Raise UserError unless this machine can submit to Slurm."""
    for command in ("sbatch", "squeue", "scontrol", "scancel", "srun"):
        if shutil.which(command) is None:
            raise UserError(
                f"hydra/launcher=slurm needs Slurm, and there is no {command} on PATH here; "
                "hydra/launcher=local, the default, computes on this machine"
            )


def cluster() -> str | None:
    """Return the name of the cluster that can be asked from here, or None."""
    try:
        return _config().get("ClusterName")
    except UserError:
        return None


def max_array_size() -> int:
    """Return the largest number of tasks in one array."""
    found = _config().get("MaxArraySize", "1001")
    return int(found) if found.isdecimal() and int(found) > 0 else 1


def check_partition(names: str | None, minutes: int) -> None:
    """Raise UserError unless the partitions, one or several by comma, exist, are up and allow tasks of `minutes`."""
    known = {}
    for line in _ask("scontrol", "--oneliner", "show", "partition").splitlines():
        facts = _facts(line)
        known[facts.get("PartitionName", "")] = facts
    for name in names.split(",") if names else [n for n, facts in known.items() if facts.get("Default") == "YES"]:
        if name not in known:
            raise UserError(f"hydra.launcher.partition={name} is unknown; this cluster has {', '.join(sorted(known))}")
        if known[name].get("State") not in ("UP", None):
            raise UserError(f"hydra.launcher.partition={name} is {known[name]['State'].lower()} at present")
        limit = _minutes(known[name].get("MaxTime", "UNLIMITED"))
        if limit is not None and minutes > limit:
            raise UserError(
                f"hydra.launcher.timeout_min={minutes} is out of range: partition {name} allows {limit} minutes"
            )


def check_script(script: str) -> None:
    """Raise UserError, with the reasons, if sbatch would refuse a script."""
    answer = _run("sbatch", "--test-only", given=script)
    if answer.returncode:
        said = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in answer.stderr.splitlines() if line]
        reasons = list(dict.fromkeys(line.partition("allocation failure: ")[2] or line for line in said))
        raise UserError(f"sbatch refuses the settings of hydra.launcher: {'; '.join(reasons) or 'without a reason'}")


def tasks(user: str) -> dict[str, TaskState] | None:
    """Return task -> state of all jobs of a user that Slurm still knows, ended ones too; None if it does not answer."""
    answer = _run("squeue", "--noheader", "--array", "--states=all", f"--user={user}", "--format=%i|%T|%r")
    if answer.returncode:
        return None
    rows = (line.strip().split("|", 2) for line in answer.stdout.splitlines())
    return {row[0]: TaskState(row[1], row[2]) for row in rows if len(row) == 3}


def jobs() -> set[str]:
    """Return the numbers of this user's jobs that Slurm knows. Raises UserError if it does not answer."""
    answer = _ask("squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", "--format=%i")
    return {line.strip().partition("_")[0] for line in answer.splitlines()}


def find(task: str, states: Mapping[str, TaskState]) -> TaskState:
    """Return the state of a task, `GONE` if it is not among `states`.

    Tasks that were cancelled in the queue one by one have no record of their own: their array's stands for them.
    """
    array = states.get(task.partition("_")[0])
    return states.get(task) or (array if array and not array.alive else TaskState("GONE", ""))


def waiting_reasons(states: Iterable[TaskState]) -> str:
    """Return why tasks wait, such as `Resources, Priority`."""
    return ", ".join(sorted({state.reason for state in states if state.waits and state.reason not in ("None", "")}))


def why_ended(task: str, state: TaskState, log: Path) -> str:
    """Return in words how a task ended, from Slurm's record of it, which is kept for minutes, and from its log."""
    answer = _run("scontrol", "--oneliner", "show", "job", task)
    facts = _facts(answer.stdout) if answer.returncode == 0 else {}
    ended = facts.get("JobState", state.state)
    if ended == "FAILED" and _took_too_much_memory(log):  # not all clusters say so in the state
        ended = "OUT_OF_MEMORY"
    return _in_words(ended, facts.get("ExitCode", ""), facts.get("NodeList", ""))


def cancel(names: Sequence[str]) -> None:
    """Cancel tasks; those that have ended are passed over."""
    for i in range(0, len(names), _AT_ONCE):
        _run("scancel", "--quiet", *names[i : i + _AT_ONCE])


def why_not_ours(job: str, name: str, folder: Path) -> str:
    """Return why a job is not one of this user, called `name`, whose output goes to `folder`; empty if it is.

    A study's records name its tasks, and may be a stranger's: Slurm knows whose they are. All tasks of a job array
    have its name, its folder and its user.
    """
    answer = _run("scontrol", "--oneliner", "show", "job", job)
    if answer.returncode or not answer.stdout.strip():
        return "Slurm does not say whose it is"
    for line in answer.stdout.splitlines():
        if f"({os.getuid()})" not in _field(line, "UserId"):
            return f"it is a job of the user {shown(_field(line, 'UserId'))}"
        if _field(line, "JobName") != name:
            return f"its name is {shown(_field(line, 'JobName'))}, and this study's tasks are called {shown(name)}"
        output = Path(_field(line, "StdOut"))
        if os.path.realpath(output.parent) != os.path.realpath(folder):
            return f"it writes to {shown(str(output.parent))}, and this study's tasks to {shown(str(folder))}"
    return ""


def _in_words(state: str, exit_code: str, node: str) -> str:
    code, _, signalled = exit_code.partition(":")
    code_number, signal_number = (int(part) if part.isdecimal() else 0 for part in (code, signalled))
    if code_number > 128:  # a shell adds the signal that killed its command to 128
        signal_number = code_number - 128
    where = f" on {node}" if node and node != "(null)" else ""
    if state == "CANCELLED":
        return "cancelled (scancel)"
    if state == "OUT_OF_MEMORY":
        return f"out of memory{where}; raise hydra.launcher.mem_gb or lower cells_per_task"
    if state in ("TIMEOUT", "DEADLINE"):
        return f"reached its time limit{where}; raise hydra.launcher.timeout_min"
    if state in ("NODE_FAIL", "BOOT_FAIL"):
        return f"its node was lost{where}"
    if state == "PREEMPTED":
        return f"preempted{where}, and this cluster does not requeue what it preempts"
    if signal_number == signal.SIGKILL:
        return f"killed (SIGKILL: out of memory, or by hand){where}"
    if signal_number:
        return f"killed by {_signal_name(signal_number)}{where}"
    if state == "FAILED":
        return f"ended with exit code {code_number}{where}"
    if state == "COMPLETED":
        return f"ended without finishing its cells{where}"
    return "Slurm does not know it any more"


def _took_too_much_memory(log: Path) -> bool:
    """Return whether slurmstepd wrote at the end of a task's log that the task was killed for its memory."""
    try:
        said = disk.tail(log, _TAIL).decode(errors="replace")
    except (FileNotFoundError, BrokenFileError):
        return False
    return re.search(r"^slurmstepd.*(exceeded (job )?memory limit|oom.kill event)", said, re.M | re.I) is not None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _config() -> dict[str, str]:
    pairs = (line.partition("=") for line in _ask("scontrol", "show", "config").splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _facts(line: str) -> dict[str, str]:
    """Return the NAME=value pairs of one line of scontrol; a value ends at its first space."""
    return dict(re.findall(r"(\w+)=(\S*)", line))


def _field(line: str, name: str) -> str:
    """Return the value of NAME=value in one line of scontrol, which may hold spaces; empty without it."""
    found = re.search(rf"(?:^|\s){name}=(.*?)(?=\s+[A-Z][\w:/]*=|\s*$)", line)
    return found[1] if found else ""


def _minutes(limit: str) -> int | None:
    """Return Slurm's [days-]hours:minutes:seconds as minutes, None for no limit."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", limit)
    if not found:
        return None
    days, hours, minutes, _ = (int(part or 0) for part in found.groups())
    return (days * 24 + hours) * 60 + minutes


def _ask(*command: str) -> str:
    answer = _run(*command)
    if answer.returncode:
        said = " ".join((answer.stderr or answer.stdout).split())
        raise UserError(f"Slurm does not answer ({' '.join(command)}: {said or 'no reason given'})")
    return answer.stdout


def _run(*command: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    """Run a command; if it is missing or hangs, it counts as failed."""
    try:
        return subprocess.run(
            command, input=given, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))
