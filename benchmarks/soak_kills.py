"""Killed again and again: a study, and its analysis, end as if nothing had ever stopped them.

    python benchmarks/soak_kills.py --out benchmarks/results      half an hour; writes kills-<processor>.md

A kill is a SIGKILL of a command and all its processes at a random moment. After each, every file must be whole, and
the analysis' stamp must say of each figure what the figure was made from. A study that ends is compared bit for bit,
but for times, with one that was never killed, and another one is begun. Exits with 1 after a difference.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: a fork keeps no threads

import argparse
import contextlib
import hashlib
import importlib
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

STUDY = Path("multirun/default")
# Four stacks of two cells, and a checkpoint after every step: nearly all of the time something is being written.
GRID = ("-m", "init=xavier_u,kaiming_n", "lr=1e-3,2e-3", "seed=0,1", "levels=2", "iterations=400", "dataset=digits")
GRID = (*GRID, "evaluate_every=200", "stack_size=2", "measure=[weights]", "device=cpu")
HASTE = ("checkpoint_every=0",)
# One kill in so many is of a command that is started anew and has workers; the others are of forks with all imported.
ANEW = 10
# What an analysis is asked for: files of the same names, made from other cells.
REQUESTS = ((), ("--where", "seed == 0"))
ANALYSIS = ("--figures", "accuracy_vs_remaining,lr_panels,training_curves,init_densities", "--report")
ANALYSIS = (*ANALYSIS, "--export", "csv,parquet")
STAMP = ".figures.json"
# Kills of the analysis between two that are let end.
_ENDS = 10
_LATE = ("pyarrow.parquet", "pandas", "ltsweep.run.study", "ltsweep.command", "multirun_analysis.__main__",
         "multirun_analysis.report")  # fmt: skip


class WrongError(Exception):
    """A file is not what it should be."""


def forked(folder: Path, work: Callable[[], int | None], log: Path) -> int:
    """Start work in a process and session of its own, in `folder`; return its number."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setsid()
        os.chdir(folder)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        code = work() or 0
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(code)


def sweep(*more: str) -> None:
    from ltsweep.command import main

    sys.argv = ["ltsweep"]
    main([*GRID, *more])


def analyse(request: Sequence[str]) -> int:
    from multirun_analysis.__main__ import main

    return main([str(STUDY), *ANALYSIS, *request])


def killed(child: int, seconds: float) -> bool:
    """Kill a process and its session after so many seconds; return whether it had not ended before.

    Raises WrongError where it ended by itself, and not well.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if code:
                raise WrongError(f"a command ended by itself with {code}")
            return False
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)  # it may not lead its session yet
    os.waitpid(child, 0)
    return True


def check_whole(study: Path) -> None:
    """Raise WrongError for a record that is torn: whatever has its own name was written whole."""
    import pyarrow.parquet as pq
    from safetensors.numpy import load_file

    for path in sorted(one for one in study.rglob("*") if one.is_file() and not one.name.startswith(".")):
        try:
            if path.suffix == ".json":
                json.loads(path.read_bytes())
            elif path.suffix == ".parquet":
                pq.read_table(path, page_checksum_verification=True)
            elif path.suffix == ".safetensors":
                load_file(path)
            elif path.stat().st_size == 0:
                raise WrongError("is empty")
        except Exception as error:
            raise WrongError(f"{path}: {error}") from error


def records(study: Path) -> dict[str, str]:
    """Return a hash of each file of the cells but their logs; of tables and statuses without times."""
    import pyarrow.parquet as pq

    found = {}
    for path in sorted(one for key in study.glob("[0-9a-f]" * 16) for one in key.rglob("*") if one.is_file()):
        if path.name in ("cell.log", ".lock"):
            continue
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            content = repr(
                table.drop_columns([n for n in ("seconds",) if n in table.schema.names]).to_pydict()
            ).encode()
        elif path.name == "status.json":
            status = json.loads(path.read_text())
            kept = ("status", "level", "levels", "error", "stack", "stack_cells", "schema", "key", "device", "measured")
            content = repr({name: status.get(name) for name in kept}).encode()
        else:
            content = path.read_bytes()
        found[str(path.relative_to(study))] = hashlib.sha256(content).hexdigest()
    return found


def check_same(found: dict[str, str], wanted: dict[str, str]) -> None:
    """Raise WrongError unless both hold the same files with the same content."""
    differ = sorted({name for name, _ in found.items() ^ wanted.items()})
    if differ:
        raise WrongError(f"differ from those of a run that was never killed: {', '.join(differ[:5])} ({len(differ)})")


def check_clean(study: Path) -> None:
    """Raise WrongError if something is left of a killed command, or was set aside."""
    left = [*study.rglob(".*.[0-9]*"), *study.rglob(".broken"), *study.rglob(".stacks")]
    if left:
        raise WrongError(f"left behind: {', '.join(str(path.relative_to(study)) for path in left[:5])}")


class Kills:
    """Counts kills, and stops when there were enough or the time is over."""

    def __init__(self, wanted: int, until: float, what: str) -> None:
        self.wanted, self.until, self.what = wanted, until, what
        self.counts: Counter[str] = Counter()
        self.began = time.monotonic()
        self.line = ""  # of the table, once it has ended

    @property
    def done(self) -> int:
        return self.counts["forked"] + self.counts["anew"]

    @property
    def enough(self) -> bool:
        return self.done >= self.wanted or time.monotonic() > self.until

    def count(self, how: str) -> None:
        self.counts[how] += 1
        if how in ("forked", "anew") and self.done % 10 == 0:
            print(f"{self.what}: {self.done} kills, {(time.monotonic() - self.began) / 60:.1f} minutes", flush=True)

    def row(self) -> str:
        minutes = (time.monotonic() - self.began) / 60
        return (
            f"| {self.what} | {self.done} | {self.counts['forked']} | {self.counts['anew']} | {self.counts['ended']} "
            f"| {minutes:.1f} |"
        )


def kill_sweeper(folder: Path, kills: Kills, rng: random.Random) -> Path:
    """Kill the command until there were enough kills; return the folder of the study that was never killed."""
    never = folder / "never-killed"
    never.mkdir()
    child = forked(never, lambda: sweep("workers=1"), folder / "never.log")
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise WrongError((folder / "never.log").read_text())
    wanted, log = records(never / STUDY), folder / "sweeper.log"
    at = folder / "sweeper"
    at.mkdir()

    def ended() -> None:
        check_same(records(at / STUDY), wanted)
        check_clean(at / STUDY)
        shutil.rmtree(at / STUDY)
        kills.count("ended")

    while not kills.enough:
        if kills.done % ANEW == 2:
            with log.open("a") as out:
                command = [sys.executable, "-m", "ltsweep", *GRID, *HASTE, "workers=2"]
                process = subprocess.Popen(command, cwd=at, stdout=out, stderr=out, start_new_session=True)
            how, was_killed = "anew", killed(process.pid, rng.uniform(2, 12))
            process.returncode = 0  # it was waited for
        else:
            how = "forked"
            was_killed = killed(forked(at, lambda: sweep(*HASTE, "workers=1"), log), rng.uniform(0.1, 5))
        if was_killed:
            kills.count(how)
            check_whole(at / STUDY)
        else:
            ended()
    killed(forked(at, lambda: sweep("workers=1"), log), 3600)
    ended()
    return never


def outputs(study: Path) -> dict[str, str]:
    """Return the hash of each file of an analysis but its stamp."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((study / "figures").glob("[!.]*"))
        if path.is_file()
    }


def stamped(study: Path) -> dict[str, dict[str, str]]:
    """Return the analysis' stamp; nothing where there is none."""
    path = study / "figures" / STAMP
    return json.loads(path.read_text()) if path.exists() else {}


def check_stamp(study: Path, wanted: Sequence[dict[str, str]], made: Sequence[dict[str, dict[str, str]]]) -> None:
    """Raise WrongError for a file that is none of those it may be, or is not the one that the stamp says it is."""
    found = outputs(study)
    for name, digest in found.items():
        if digest not in [one.get(name) for one in wanted]:
            raise WrongError(f"{name} is not what an analysis writes that is never killed")
    for name, entry in stamped(study).items():
        for files, stamps in zip(wanted, made, strict=True):
            says_so = name in files and entry.get("made_from") == stamps[name]["made_from"]
            # A file that is gone is no lie: it is made anew.
            if says_so and not entry.get("says") and name in found and found[name] != files[name]:
                raise WrongError(f"the stamp says that {name} is made from other records than it is")


def kill_analysis(folder: Path, study: Path, kills: Kills, rng: random.Random) -> None:
    """Kill the analysis until there were enough kills, of one request or another."""
    log, wanted, made = folder / "analysis.log", [], []
    for request in REQUESTS:
        began = time.monotonic()
        killed(forked(study, lambda request=request: analyse(request), log), 3600)
        seconds = time.monotonic() - began
        wanted.append(outputs(study / STUDY))
        made.append(stamped(study / STUDY))
        shutil.rmtree(study / STUDY / "figures")
    while not kills.enough:
        which = rng.randrange(len(REQUESTS))
        if killed(forked(study, lambda which=which: analyse(REQUESTS[which]), log), rng.uniform(0, seconds)):
            kills.count("forked")
        else:
            check_same(outputs(study / STUDY), wanted[which])
            kills.count("ended")
        check_stamp(study / STUDY, wanted, made)
        if kills.done % _ENDS == _ENDS - 1 or kills.enough:
            which = rng.randrange(len(REQUESTS))
            killed(forked(study, lambda which=which: analyse(REQUESTS[which]), log), 3600)
            check_same(outputs(study / STUDY), wanted[which])
            left = [path.name for path in (study / STUDY / "figures").glob(".*") if path.name not in (STAMP, ".lock")]
            if left:
                raise WrongError(f"left behind in figures: {', '.join(left[:5])}")
            kills.count("ended")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="of the command")
    parser.add_argument("--analysis-kills", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=45, help="at most, in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder for the table")
    options = parser.parse_args()
    for name in _LATE:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    rng, began = random.Random(options.seed), time.monotonic()
    # The analysis gets the time that the command leaves, and a fifth of all at least.
    sweeper = Kills(options.kills, began + 48 * options.minutes, "command")
    analysis = Kills(options.analysis_kills, began + 60 * options.minutes, "analysis")
    wrong = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        study = folder / "never-killed"
        for kills, work in (
            (sweeper, lambda: kill_sweeper(folder, sweeper, rng)),
            (analysis, lambda: kill_analysis(folder, study, analysis, rng)),
        ):
            kills.began = time.monotonic()
            try:
                work()
            except WrongError as error:
                wrong.append(f"{kills.what}, after {kills.done} kills: {error}")
            kills.line = kills.row()
    for line in wrong:
        print(line)
    lines = [
        "| killed | kills | forks | commands started anew, with workers | ended and compared | minutes |",
        "|---|---|---|---|---|---|",
        sweeper.line,
        analysis.line,
        "",
        "Every study and every analysis that ended is what it is when it is never killed."
        if not wrong
        else f"NOT equal: {'; '.join(wrong)}.",
    ]
    print("\n".join(lines))
    if options.out:
        _write(options.out, options, lines)
    sys.stdout.flush()
    os._exit(bool(wrong))


def _write(folder: Path, options: argparse.Namespace, lines: list[str]) -> None:
    import torch

    from ltsweep.run.hardware import hardware

    machine = hardware(torch.device("cpu"))
    slug = re.sub(r"[^a-z0-9]+", "-", f"{machine['cpu']} {machine['cores']} cores".lower()).strip("-")
    head = [
        f"# Kills at random moments, {machine['cpu']}, {machine['cores']} cores",
        "",
        f"torch {torch.__version__}; `benchmarks/soak_kills.py --kills {options.kills} --analysis-kills "
        f"{options.analysis_kills} --seed {options.seed}`; the study is `{' '.join(GRID[1:])}`.",
        "",
    ]
    (folder / f"kills-{slug}.md").write_text("\n".join([*head, *lines]) + "\n")


if __name__ == "__main__":
    main()
