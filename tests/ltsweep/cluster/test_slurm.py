"""What Slurm says, in words; without a Slurm."""

import os
import subprocess
from pathlib import Path

import pytest

from ltsweep.cluster import slurm
from ltsweep.cluster.slurm import (
    TaskState,
    _in_words,
    _minutes,
    _took_too_much_memory,
    find,
    waiting_reasons,
    why_not_ours,
)


@pytest.mark.parametrize(
    ("state", "code", "says"),
    [
        ("CANCELLED", "0:15", "cancelled (scancel)"),
        ("OUT_OF_MEMORY", "0:125", "out of memory on n1; raise hydra.launcher.mem_gb or lower cells_per_task"),
        ("TIMEOUT", "0:0", "reached its time limit on n1; raise hydra.launcher.timeout_min"),
        ("NODE_FAIL", "0:0", "its node was lost on n1"),
        ("PREEMPTED", "0:0", "preempted on n1, and this cluster does not requeue what it preempts"),
        ("FAILED", "137:0", "killed (SIGKILL: out of memory, or by hand) on n1"),
        ("FAILED", "0:9", "killed (SIGKILL: out of memory, or by hand) on n1"),
        ("FAILED", "139:0", "killed by SIGSEGV on n1"),
        ("FAILED", "1:0", "ended with exit code 1 on n1"),
        ("COMPLETED", "0:0", "ended without finishing its cells on n1"),
        ("GONE", "", "Slurm does not know it any more"),
    ],
)
def test_every_end_has_its_words(state, code, says):
    assert _in_words(state, code, "n1") == says


@pytest.mark.parametrize(
    ("limit", "minutes"), [("UNLIMITED", None), ("00:10:00", 10), ("2-00:00:00", 2880), ("1-02:03:04", 1563)]
)
def test_limits_are_read_as_minutes(limit, minutes):
    assert _minutes(limit) == minutes


def test_a_task_without_a_record_of_its_own_is_as_its_array():
    states = {"7_0": TaskState("RUNNING", "None"), "7": TaskState("CANCELLED", "x"), "8": TaskState("PENDING", "x")}
    assert find("7_0", states).alive
    assert find("7_1", states).state == "CANCELLED"
    assert find("8_1", states).state == "GONE"
    assert not find("9", states).alive


def test_why_tasks_wait_is_said_once():
    waiting = [TaskState("PENDING", "Resources"), TaskState("PENDING", "Resources"), TaskState("PENDING", "Priority")]
    assert waiting_reasons([*waiting, TaskState("RUNNING", "None")]) == "Priority, Resources"


@pytest.mark.parametrize(
    ("said", "memory"),
    [
        ("slurmstepd-n1: error: StepId=2.0 exceeded memory limit (494637056 > 106954752), being killed", True),
        ("slurmstepd: error: Detected 1 oom-kill event(s) in StepId=7.0. Some of your processes may have been", True),
        (
            "slurmstepd: error: Detected 1 oom_kill event in StepId=7.0. Some of the step tasks have been OOM Killed.",
            True,
        ),
        ("srun: error: n1: task 0: Killed", False),
        ("RuntimeError: the batch exceeded memory limits of a cell", False),
    ],
)
def test_memory_is_told_from_other_kills_by_what_slurmstepd_wrote(tmp_path, said, memory):
    log = tmp_path / "7_0_log.err"
    assert not _took_too_much_memory(log)
    log.write_text(f"srun: Job step aborted\n{said}\n")
    assert _took_too_much_memory(log) is memory


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_log_that_is_no_file_says_nothing(tmp_path, make):
    make(tmp_path / "7_0_log.err")
    assert not _took_too_much_memory(tmp_path / "7_0_log.err")


def test_only_the_end_of_a_log_is_read(tmp_path):
    log = tmp_path / "7_0_log.err"
    with log.open("wb") as file:
        file.truncate(1 << 40)
        file.seek(0, os.SEEK_END)
        file.write(b"\nslurmstepd: error: Detected 1 oom_kill event in StepId=7.0.\n")
    assert _took_too_much_memory(log)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, ""),
        ({"UserId": f"somebody({os.getuid() + 1})"}, "it is a job of the user somebody"),
        ({"JobName": "simulation"}, "its name is simulation, and this study's tasks are called ltsweep-my study"),
        ({"JobName": "ltsweep-my"}, "its name is ltsweep-my, and"),
        ({"StdOut": "/elsewhere/multirun/my study/.submitit/7_0_log.out"}, "it writes to /elsewhere/"),
        ({"StdOut": ""}, "it writes to ., and"),
        ({"JobName": "x\x1b[2J"}, "its name is x\\x1b[2J, and"),
    ],
)
def test_a_job_is_a_studys_by_its_user_name_and_folder(tmp_path, monkeypatch, changes, says):
    folder = tmp_path / "my study/.submitit"
    facts = {
        "JobId": "7",
        "ArrayJobId": "7",
        "JobName": "ltsweep-my study",
        "UserId": f"me({os.getuid()})",
        "GroupId": "me(0)",
        "JobState": "PENDING",
        "ReqB:S:C:T": "0:0:*:*",
        "StdErr": f"{folder}/7_4294967294_0_log.err",
        "StdOut": f"{folder}/7_4294967294_0_log.out",
        "TresPerTask": "cpu=1",
    }
    line = " ".join(f"{name}={value}" for name, value in (facts | changes).items())
    asked = []

    def run(*command, given=""):
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, f"{line}\n{line} \n", "")

    monkeypatch.setattr(slurm, "_run", run)
    why = why_not_ours("7", "ltsweep-my study", folder)
    assert asked == [("scontrol", "--oneliner", "show", "job", "7")]
    assert why.startswith(says)
    assert bool(why) is bool(says)
    assert why.isprintable()


@pytest.mark.parametrize(("code", "said"), [(1, ""), (0, ""), (0, "\n")])
def test_a_job_of_which_slurm_says_nothing_is_not_a_studys(monkeypatch, code, said):
    monkeypatch.setattr(slurm, "_run", lambda *command: subprocess.CompletedProcess(command, code, said, ""))
    assert why_not_ours("7", "ltsweep-x", Path("x")) == "Slurm does not say whose it is"
