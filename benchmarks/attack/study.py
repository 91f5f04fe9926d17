"""The study that is attacked: small and real, with a cell of every kind; around it, files that nobody may touch."""

import contextlib
import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

STUDY = "multirun/digits"
CLAIM = "claims/mine.yaml"
OPTIONS = (
    "dataset=digits", "device=cpu", "workers=1", "levels=2", "iterations=12", "evaluate_every=6", "batch_size=20",
    "stack_size=1", "measure=[weights]", "method.controls=[reinit,random_mask]", "study=digits",
)  # fmt: skip
# Two cells that end and one that is stopped; one that diverges. In stacks of one, so that a cell's bits are its own.
GRIDS = (("lr=1e-3", "seed=0,1,2"), ("optimizer=sgd", "lr=1000", "seed=0"))
ANALYSIS = ("--figures", "none", "--export", "csv")
_CLAIM = """\
name: seeds differ
source: nobody
text: The ticket of one seed is no better than that of another.
where: {lr: 0.001}
compare: {left: {seed: 0}, right: {seed: 1}}
remaining: area
direction: equal
margin: 0.5
"""


@dataclass(frozen=True)
class World:
    """What a mutator knows: the folder of everything, the study in it, and the keys of its cells by how they stand."""

    box: Path
    keys: tuple[str, ...]
    stopped: str
    stack: str

    @property
    def study(self) -> Path:
        return self.box / STUDY

    @property
    def trace(self) -> Path:
        """Return the file that appears once something in a mutant was run as a program."""
        return self.box / "it-ran"


def command(*grid: str) -> list[str]:
    """Return the arguments of the command that computes a grid of the study."""
    return ["-m", *grid, *OPTIONS]


def run(arguments: list[str]) -> int:
    """Run the command in this process; return its exit code."""
    from ltsweep import command as ltsweep

    os.environ.pop("HYDRA_FULL_ERROR", None)
    sys.argv = ["ltsweep"]
    try:
        ltsweep.main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def forked(work, *arguments) -> int:  # noqa: ANN001, ANN002
    """Return the exit code of `work` in a process of its own."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
            code = work(*arguments) or 0
    finally:
        os._exit(code)


def make(box: Path) -> World:
    """Make the study and its surroundings in `box`."""
    here = Path.cwd()
    os.chdir(box)
    try:
        surroundings(box)
        codes = [forked(_stopped_inside_a_level, command("lr=1e-3", "seed=2"))]
        codes += [forked(run, command(*grid)) for grid in (("lr=1e-3", "seed=0,1"), GRIDS[1])]
        if codes != [9, 0, 0]:
            raise SystemExit(f"the study cannot be made: exit codes {codes}")
        statuses = {
            path.parent.name: json.loads(path.read_text()) for path in sorted(box.glob(f"{STUDY}/*/status.json"))
        }
        standing = sorted(status["status"] for status in statuses.values())
        if standing != ["diverged", "done", "done", "running"]:
            raise SystemExit(f"the study is not what it should be: {standing}")
        stopped = next(key for key, status in statuses.items() if status["status"] == "running")
        world = World(box, tuple(sorted(statuses)), stopped, statuses[stopped]["stack"])
        _hand_to_slurm(world)
        _left_by_another_machine(world)
        if forked(_with_many_rows, world) or forked(_analysed):
            raise SystemExit("the study cannot be analysed")
        return world
    finally:
        os.chdir(here)


def surroundings(box: Path) -> None:
    """Make all but the study: files with tempting names beside it and above it."""
    for folder in ("home", "outside", "outside/tickets", "multirun/other", "claims", "bin", "bin-gone", "no-bin"):
        (box / folder).mkdir(parents=True, exist_ok=True)
    for folder in ("", "home", "outside", "outside/tickets", "multirun", "multirun/other"):
        for name in ("thesis.tex", "model.safetensors", ".draft.12345", ".tmpdraft", "status.json", "cell.log"):
            (box / folder / name).write_text(f"{folder}/{name}: three years of work\n" * 20)
    (box / CLAIM).write_text(_CLAIM)
    for folder, queue in (("bin", "echo '7_0|RUNNING|None'\necho '7_1|RUNNING|None'"), ("bin-gone", "true")):
        _script(box / folder / "squeue", queue)
        asked = '[ "$2" = config ] || [ "$3" = config ] || exit 1'
        _script(box / folder / "scontrol", f"{asked}\necho 'ClusterName = attacked'")
        for name in ("sbatch", "scancel", "srun"):
            _script(box / folder / name, "exit 1")


def _script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def _stopped_inside_a_level(arguments: list[str]) -> int:
    """Run the command up to its second checkpoint inside level 1, and end as a kill would, with exit code 9."""
    from ltsweep.run import stack_run

    save = stack_run.save_checkpoint
    inside = []

    def save_and_die(study, stack, facts, tensors) -> None:  # noqa: ANN001
        save(study, stack, facts, tensors)
        inside.append(facts["level"])
        if inside.count(1) == 2:
            os._exit(9)

    stack_run.save_checkpoint = save_and_die
    return run([*arguments, "checkpoint_every=0"])


def _hand_to_slurm(world: World) -> None:
    from ltsweep.cluster import ledger
    from ltsweep.store.provenance import versions

    ledger.make_folder(world.study)
    ended = [key for key in world.keys if key != world.stopped]
    settings = {"study": str(world.study), "data_dir": "data", "device": "cpu", "workers": 1, "stack_size": 1}
    options = {"partition": None, "timeout_min": 60, "wait": True}
    ledger.add(world.study, "attacked", versions(), options, settings, {"7_0": ended, "7_1": [world.stopped]})


def _left_by_another_machine(world: World) -> None:
    """Leave an .owner as a machine leaves it that died some minutes ago."""
    owner = {
        "name": "process 4711 on elsewhere",
        "pid": 4711,
        "boot": "another",
        "token": "0" * 16,
        "renewed": ".owner",
    }
    path = world.study / ".owner"
    path.write_text(json.dumps(owner))
    os.utime(path, (path.stat().st_mtime - 600,) * 2)


def _with_many_rows(world: World) -> None:
    from benchmarks.attack.tensors import make_many_rows

    make_many_rows(world)


def _analysed() -> int:
    from multirun_analysis.__main__ import main

    return main([STUDY, *ANALYSIS])


class Copies:
    """The untouched study in memory, put back for each mutant: names, content, rights and times of change."""

    def __init__(self, box: Path) -> None:
        self.folders = [path.relative_to(box) for path in sorted((box / STUDY).rglob("*")) if path.is_dir()]
        files = [path for path in sorted((box / STUDY).rglob("*")) if path.is_file()]
        self.files = [(path.relative_to(box), path.read_bytes(), path.stat().st_mtime_ns) for path in files]

    def put(self, box: Path) -> None:
        """Make the study anew in `box`, whatever is there."""
        wipe(box / STUDY)
        (box / STUDY).mkdir()
        for folder in self.folders:
            (box / folder).mkdir()
        for name, content, changed in self.files:
            (box / name).write_bytes(content)
            os.utime(box / name, ns=(changed, changed))
        if not (box / CLAIM).is_file() or (box / CLAIM).is_symlink() or (box / CLAIM).stat().st_size != len(_CLAIM):
            wipe(box / CLAIM)
        (box / CLAIM).write_text(_CLAIM)


def wipe(path: Path) -> None:
    """Remove whatever is at a path, without following a link."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    with contextlib.suppress(OSError):
        shutil.rmtree(path)
    if path.exists():
        path.chmod(0o700)
        for folder, names, _ in os.walk(path):
            for name in names:
                if not os.path.islink(os.path.join(folder, name)):
                    os.chmod(os.path.join(folder, name), 0o700)
        shutil.rmtree(path)


def is_key(name: str) -> bool:
    """Return whether a folder of this name is a cell's."""
    return re.fullmatch("[0-9a-f]{16}", name) is not None
