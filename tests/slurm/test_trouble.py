"""Tasks that die, are stopped, are requeued; cells that fail; code that changes. Nothing hangs, nothing is lost."""

import os
import shutil
import signal

import pandas as pd
import pytest

# An initialization that does as files in the folder say: waits in the middle of a task, fails, or takes its time.
OWN = """
import os, time, torch

def drawn(shape, rng):
    if shape[0] > 4:  # not when the config is checked
        open("met" + os.environ.get("SLURM_ARRAY_TASK_ID", ""), "w").close()
        while os.path.exists("hold"):
            time.sleep(0.1)
        if os.path.exists("boom"):
            raise RuntimeError("boom")
        if os.path.exists("slow"):
            time.sleep(0.1)
    return torch.randn(shape, generator=rng) * 0.1
"""


def own(cluster, *files):
    """Put that initialization, and the files it looks for, into the folder; returns the environment that finds it."""
    (cluster.folder / "own.py").write_text(OWN)
    (cluster.folder / "conf/init").mkdir(parents=True)
    (cluster.folder / "conf/init/drawn.yaml").write_text("name: drawn\n_target_: own.drawn\n_partial_: true\n")
    for name in files:
        (cluster.folder / name).touch()
    return {"PYTHONPATH": os.pathsep.join((str(cluster.folder), cluster.environment["PYTHONPATH"]))}


@pytest.fixture(scope="module", autouse=True)
def timed_out(shared):
    """Start the study that meets its time limit of a minute first, since nothing makes that quicker."""
    arguments = ("hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=5", "hydra.launcher.max_requeues=1")
    one = ("--config-dir=conf", "init=drawn", "lr=1e-3", "study=minute", "hydra.launcher.gpus_per_node=0")
    slow = ("levels=900", "iterations=20", "method.controls=[reinit]")  # which draws at every level
    process = shared.start(*one, *arguments, *slow, **own(shared, "slow"))
    shared.until(lambda: shared.tasks("minute"), process)
    return process


def test_what_dies_is_noticed_and_the_rest_is_kept(cluster):
    environment = own(cluster, "hold", "boom")
    grid = ("--config-dir=conf", "init=drawn,xavier_u", "lr=1e-3,2e-3,3e-3", *cluster.SMALL)
    process = cluster.start(*grid, **environment)
    tasks = cluster.until(cluster.tasks, process)
    killed, cancelled, whole = tasks  # two at a time, each with one cell of either init
    assert [len(keys) for keys in tasks.values()] == [2, 2, 2]
    for name in ("met0", "met1"):
        cluster.until((cluster.folder / name).exists, process)
    os.kill(cluster.process_of(killed), signal.SIGKILL)
    cluster.slurm("scancel", cancelled)
    cluster.until((cluster.folder / "met2").exists, process)
    (cluster.folder / "hold").unlink()
    ended = cluster.wait(process)
    assert ended.code == 1, f"{ended.out}\n{ended.err}"
    assert "5 failed" in ended.out
    assert "1 done" in ended.out

    reasons = {key: status["error"] for key, status in cluster.statuses().items()}
    for task, says in ((killed, "killed (SIGKILL: out of memory, or by hand)"), (cancelled, "cancelled (scancel)")):
        for key in tasks[task]:
            assert reasons[key].startswith(f"task {task} {says}")
            assert reasons[key] in ended.out
            assert reasons[key] in cluster.log(key)
    assert sorted(reasons[key] or "" for key in tasks[whole]) == ["", "RuntimeError: boom"]
    assert "RuntimeError: boom" in ended.out
    kept, boom = sorted(tasks[whole], key=lambda key: reasons[key] or "")
    assert "Traceback" in cluster.log(boom)

    (cluster.folder / "boom").unlink()
    finished = cluster.levels()[kept]
    again = ("--resubmit-failed", *cluster.TASKS, "device=cpu")
    refused = cluster.status(*again, code=2, **environment).err
    assert refused.count("\n") == 1
    assert refused.endswith("if you trust the module own: --allow own\n")
    assert "5 cells submitted again as 3 tasks" in cluster.status(*again, "--allow", "own", **environment).err
    cluster.until(lambda: cluster.how() == ["done"] * 6)
    pd.testing.assert_frame_equal(cluster.levels()[kept], finished)
    assert cluster.log(kept).count("level  0") == 1
    assert "6 cells, 6 done" in cluster.status().out


def test_preempted_then_left_then_killed_then_ended_on_this_machine(cluster):
    grid = ("lr=1e-3", *cluster.MIDDLE)
    process = cluster.start(*grid)
    tasks = cluster.until(cluster.tasks, process)
    ((task, keys),) = tasks.items()

    # Preempted: the same task is in the queue again.
    cluster.until(lambda: cluster.trained(task), process)
    cluster.slurm("scancel", "--signal=USR2", task)
    cluster.until(lambda: "Restarts=1 " in cluster.slurm("scontrol", "--oneliner", "show", "job", task), process)

    # Left: without a terminal there is nobody to ask, and the task goes on.
    process.send_signal(signal.SIGINT)
    ended = cluster.wait(process)
    assert ended.code == 130
    assert "left to Slurm, which goes on" in ended.out
    reached = cluster.statuses()[keys[0]]["level"]
    cluster.until(lambda: cluster.trained(task, level=reached + 1))
    os.kill(cluster.process_of(task), signal.SIGKILL)
    # Nobody waits for the task, so the next to look is who notices.
    cluster.until(lambda: cluster.status().out.count(f"task {task} killed (SIGKILL") == 2)
    assert cluster.how() == ["failed", "failed"]

    # The stack that Slurm began, ended here: bit for bit what one undisturbed run leaves.
    for study in ("default", "undisturbed"):
        cluster.local(*grid, f"study={study}")
    assert cluster.how() == ["done", "done"]
    log = cluster.log(keys[0])
    assert log.count("starts at level 0,") == 1
    assert log.count("  starts ") == 3
    undisturbed = cluster.levels("undisturbed")
    for key, table in cluster.levels().items():
        pd.testing.assert_frame_equal(table, undisturbed[key], check_exact=True)


def test_changed_code_is_refused(cluster):
    site = cluster.folder / "site"
    shutil.copytree(cluster.environment["PYTHONPATH"], site)
    held = ("hydra.launcher.wait=false", "hydra.launcher.additional_parameters={hold:true}")
    cluster("init=xavier_u", "lr=1e-3", *cluster.SMALL, *held, PYTHONPATH=str(site))
    with (site / "ltsweep/rng.py").open("a") as file:
        file.write("# changed\n")
    (task,) = cluster.tasks()
    cluster.slurm("scontrol", "release", task)
    cluster.until(lambda: cluster.how() == ["failed"])
    (standing,) = cluster.standings().values()
    assert standing["error"].startswith("the code is not what the study was submitted with (code was ")
    assert standing["error"].endswith("the same command submits it anew")


def test_a_time_limit_requeues_as_often_as_it_may(shared, timed_out):
    ended = shared.wait(timed_out)
    assert ended.code == 1, f"{ended.out}\n{ended.err}"
    ((task, keys),) = shared.tasks("minute").items()
    (status,) = shared.statuses("minute").values()
    assert status["error"] == (
        "stopped by its time limit or a preemption after 1 requeue; hydra.launcher.max_requeues is 1"
    )
    assert status["error"] in ended.out
    assert "Restarts=1 " in shared.slurm("scontrol", "--oneliner", "show", "job", task)
    log = shared.log(keys[0], "minute")
    assert log.count("starts at level") == 2
    assert [log.count(f"  level {level:2d}  ") for level in range(status["level"] + 1)] == [1] * (status["level"] + 1)
