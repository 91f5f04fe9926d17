"""A grid on Slurm: packed, seen, the same as a local one; and what is refused before anything is submitted."""

import json
import shutil
import subprocess
import sys

import pandas as pd


def test_two_by_two_on_two_gpus_is_what_a_local_run_leaves(shared):
    ended = shared(*shared.SMALL, "study=grid")
    tasks = shared.tasks("grid")
    assert "multirun/grid: 4 cells, 4 in 2 tasks of up to 2\n" in ended.out
    assert [len(keys) for keys in tasks.values()] == [2, 2]
    assert shared.how("grid") == ["done"] * 4
    assert "4 done\n" in ended.out
    for task, keys in tasks.items():
        gpu = shared.slurm("scontrol", "show", "job", task)
        assert "TresPerNode=gres:gpu:1" in gpu
        assert all("in a stack of 2 " in shared.log(key, "grid") for key in keys)

    again = shared(*shared.SMALL, "study=grid")
    assert "4 cells, 4 already finished, nothing to submit\n" in again.out
    assert shared.tasks("grid") == tasks

    shared.local(*shared.SMALL, "study=local", "stack_size=2")
    here, there = shared.folder / "multirun/local", shared.folder / "multirun/grid"
    files = sorted(str(path.relative_to(here)) for path in here.glob("[0-9a-f]*/**/*"))
    hidden = (".lock", ".owner")
    assert files == sorted(
        str(path.relative_to(there)) for path in there.glob("[0-9a-f]*/**/*") if path.name not in hidden
    )
    for key, table in shared.levels("local").items():
        pd.testing.assert_frame_equal(table, shared.levels("grid")[key], rtol=1e-4)
        assert (here / key / "config.yaml").read_bytes() == (there / key / "config.yaml").read_bytes()
    one, other = ({key: sorted(status) for key, status in shared.statuses(s).items()} for s in ("local", "grid"))
    assert one == other


def test_a_larger_grid_submits_what_is_new_in_arrays_that_slurm_takes(shared):
    for dry in ("hydra.launcher.dry_run=true", "dry_run=true"):
        plan = shared("seed=0,1,2", *shared.SMALL, "study=arrays", dry).out
        assert "multirun/arrays: 12 cells, 12 in 6 tasks of up to 2\n" in plan
        assert "  cells   0 finished, 12 to compute: 12 new\n" in plan
        assert "  stacks  6 in 6 tasks, which divide them by their memory: 6 of 2 cells\n" in plan
        assert "no like cell on record, so no time is reckoned\n" in plan
        assert plan.count("#SBATCH --array=0-2%3") == 1  # two arrays of three look the same
        assert "srun" in plan
        assert not (shared.folder / "multirun/arrays").exists()

    held = ("hydra.launcher.wait=false", "hydra.launcher.additional_parameters={hold:true}", "study=arrays")
    ended = shared("seed=0,1,2", *shared.SMALL, *held)
    assert "python -m ltsweep.status multirun/arrays" in ended.out
    assert sorted(task.partition("_")[2] for task in shared.tasks("arrays")) == ["0", "0", "1", "1", "2", "2"]
    assert shared.how("arrays") == ["pending"] * 12

    table = shared.status(study="arrays").out
    assert table.count("JobHeldUser") == 12
    assert "12 cells, 12 pending" in table

    again = shared("seed=0,1,2,3", *shared.SMALL, *held)
    assert "16 cells, 12 in the queue already, 4 in 2 tasks of up to 2\n" in again.out

    removal = [sys.executable, "-m", "ltsweep.study", "rm", "multirun/arrays", "--all", "--yes"]
    kept = subprocess.run(
        removal, cwd=shared.folder, env=shared.environment, capture_output=True, text=True, check=False
    )
    assert (kept.returncode, kept.stderr.count("\n")) == (2, 1)
    assert kept.stderr.startswith("ltsweep: multirun/arrays is being computed by Slurm, tasks ")
    assert len(shared.how("arrays")) == 16

    refused = shared.local(*shared.SMALL, "study=arrays", code=2)
    assert refused.err.startswith("ltsweep: multirun/arrays is being computed by Slurm, tasks ")
    assert refused.err.count("\n") == 1

    cells = json.loads(shared.status("--cancel", "--json", study="arrays").out)["cells"]
    assert {(cell["status"], cell["slurm"]) for cell in cells} == {("failed", "CANCELLED")}
    assert all(cell["error"] == f"task {cell['task']} cancelled (scancel)" for cell in cells)


def test_cancel_leaves_a_job_that_a_ledger_names_and_that_is_not_the_studys(shared):
    held = ("hydra.launcher.wait=false", "hydra.launcher.additional_parameters={hold:true}")
    for study in ("mine", "others"):
        shared("init=xavier_u", "lr=1e-3", *shared.SMALL, *held, f"study={study}")
    elsewhere = shared.slurm("sbatch", "--parsable", "--hold", "--wrap=true").strip()
    (own,), (other,) = shared.tasks("mine"), shared.tasks("others")
    (path,) = (shared.folder / "multirun/mine/.submitit").glob("*.json")
    ledger = json.loads(path.read_text())
    (key,) = ledger["tasks"][own]

    for foreign, why in ((elsewhere, "its name is wrap, and"), (other, "its name is ltsweep-others, and")):
        path.write_text(json.dumps(ledger | {"tasks": {own: [], foreign: [key]}}))
        out = shared.status("--cancel", study="mine").out
        assert f"task {foreign} was not cancelled: {why}" in out
        assert "PENDING" in shared.slurm("scontrol", "show", "job", foreign)
    path.write_text(json.dumps(ledger | {"tasks": {own: [key]}}))
    # A study of the same name in another folder, which a stranger's can always be.
    (shared.folder / "elsewhere/multirun").mkdir(parents=True)
    shutil.copytree(shared.folder / "multirun/mine", shared.folder / "elsewhere/multirun/mine")
    out = shared.status("--cancel", study="../elsewhere/multirun/mine").out
    assert f"task {own} was not cancelled: it writes to " in out

    (one,) = json.loads(shared.status("--cancel", "--json", study="mine").out)["cells"]
    assert (one["status"], one["slurm"]) == ("failed", "CANCELLED")
    shared.slurm("scancel", elsewhere, other)


def test_mistakes_are_one_line_before_anything_is_submitted(shared):
    long = 60 * 24
    for given, says in {
        "hydra.launcher.partition=nope": "hydra.launcher.partition=nope is unknown; this cluster has short, test",
        "hydra.launcher.gpus_per_node=3": "sbatch refuses the settings of hydra.launcher: Requested node configuration",
        "+hydra.launcher.partitoin=test": "hydra.launcher.partitoin is unknown; did you mean partition?",
        "hydra.launcher.cells_per_task=0": "hydra.launcher.cells_per_task=0 is out of range",
        "hydra.launcher.setup=module": "hydra.launcher.setup=module is out of range: it is a list of shell commands",
        f"hydra.launcher={{partition:short,timeout_min:{long}}}": f"hydra.launcher.timeout_min={long} is out of range",
    }.items():
        given = (
            [given] if "{" not in given else ["hydra.launcher.partition=short", f"hydra.launcher.timeout_min={long}"]
        )
        ended = shared(*given, *shared.SMALL, "study=refused", code=2)
        assert ended.err.startswith(f"ltsweep: {says}")
        assert ended.err.count("\n") == 1
    assert not (shared.folder / "multirun/refused").exists()


def test_without_slurm_the_local_launcher_is_named(shared):
    ended = shared(*shared.SMALL, "study=refused", code=2, PATH="/nowhere")
    assert ended.err == (
        "ltsweep: hydra/launcher=slurm needs Slurm, and there is no sbatch on PATH here; "
        "hydra/launcher=local, the default, computes on this machine\n"
    )
    assert shared.status(study="grid", PATH="/nowhere").out.endswith(
        "Slurm cluster throwaway cannot be asked from here; what is shown is what the tasks wrote\n"
    )
