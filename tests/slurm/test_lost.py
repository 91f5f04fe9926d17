"""What a cluster takes away: the memory of a task, the node under it."""

import os
import re
import signal

import pandas as pd


def _node(cluster):
    return cluster.slurm("sinfo", "-h", "-o", "%n").strip()


def test_a_task_that_takes_too_much_memory_is_told_apart(cluster):
    small = ("hydra.launcher.mem_gb=0.1", "hydra.launcher.gpus_per_node=0")
    ended = cluster("init=xavier_u", *cluster.SMALL, *small, code=1)
    ((task, keys),) = cluster.tasks().items()
    for key in keys:
        error = cluster.statuses()[key]["error"]
        assert error.startswith(f"task {task} out of memory on ")
        assert error.endswith("; raise hydra.launcher.mem_gb or lower cells_per_task")
        assert error in ended.out
    assert "2 failed" in ended.out


def test_a_lost_node_requeues_or_fails_and_loses_nothing(frail):
    """Power goes: slurmd, its step daemons and the tasks die at once, and the node is back after Slurm gave it up."""
    one = ("init=xavier_u,kaiming_n", "lr=1e-3", *frail.MIDDLE)
    never = "hydra.launcher.additional_parameters={requeue:false,no-requeue:true}"
    failed = frail.start(*one, "levels=900", "study=failed", never)
    requeued = frail.start(*one, "study=requeued")
    (task,) = frail.until(lambda: frail.tasks("failed"), failed)
    frail.until(lambda: "JobState=RUNNING" in frail.slurm("scontrol", "show", "job", task), failed)
    (task,) = frail.until(lambda: frail.tasks("requeued"), requeued)
    frail.until(lambda: frail.trained(task, "requeued"), requeued)
    for pid in frail.node_processes():
        os.kill(pid, signal.SIGKILL)

    ended = frail.wait(failed)
    assert ended.code == 1, f"{ended.out}\n{ended.err}"
    (task,) = frail.tasks("failed")
    for status in frail.statuses("failed").values():
        assert status["error"].startswith(f"task {task} its node was lost on ")
        assert status["error"] in ended.out

    frail.start_daemon("slurmd")
    # Orders to end what ran there are still on their way; one that came late would end what starts next.
    frail.until(lambda: frail.slurm("sinfo", "-h", "-o", "%T").strip() == "down")  # which answers: no asterisk
    frail.until(lambda: re.search(r"Agent queue size: +0\n", frail.slurm("sdiag")))
    frail.slurm("scontrol", "update", f"NodeName={_node(frail)}", "State=RESUME")
    ended = frail.wait(requeued)
    assert ended.code == 0, f"{ended.out}\n{ended.err}"
    (task,) = frail.tasks("requeued")
    assert "Restarts=1 " in frail.slurm("scontrol", "--oneliner", "show", "job", task)
    frail.local(*one, "study=undisturbed")
    undisturbed = frail.levels("undisturbed")
    for key, table in frail.levels("requeued").items():
        pd.testing.assert_frame_equal(table, undisturbed[key], check_exact=True)
