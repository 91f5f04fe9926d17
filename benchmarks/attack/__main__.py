"""The campaign's command: `python -m benchmarks.attack --help`."""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: a fork keeps no threads

import argparse
import contextlib
import gc
import importlib
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks import attack
from benchmarks.attack import children, mutants, report, sabotage
from benchmarks.attack.children import Reading, truth_of
from benchmarks.attack.children import attack as attacked
from benchmarks.attack.study import Copies, make

# What the readers import late: once here, and not in every child.
_LATE = (
    "pyarrow.parquet", "pyarrow.csv", "safetensors.torch", "ltsweep.run.study", "ltsweep.command", "ltsweep.status",
    "ltsweep.cluster.local", "ltsweep.measure.weights", "multirun_analysis.__main__", "multirun_analysis.report",
    "scipy.stats", "statsmodels.api", "plotly", "jinja2", "matplotlib.backends.backend_agg",
)  # fmt: skip
_PACKAGES = ("torch", "numpy", "pandas", "pyarrow", "safetensors", "PyYAML", "msgspec")


def main() -> None:
    parser = argparse.ArgumentParser(description=attack.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shard", default="1/1", metavar="I/N", help="every Nth mutant, from the Ith on")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument(
        "--kinds", action="store_true", help="of each change of a file, and each of its readers, one mutant"
    )
    parser.add_argument("--only", type=int, help="this mutant alone, with all that was said")
    parser.add_argument(
        "--prove", action="store_true", help="first break readers on purpose: is every kind of failure seen?"
    )
    parser.add_argument("--out", type=Path, help="folder for the table")
    options = parser.parse_args()
    which, of = map(int, options.shard.split("/"))
    numbers = [options.only] if options.only is not None else list(range(which - 1, options.mutants, of))

    _import_late()
    ram = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=ram if os.access(ram, os.W_OK) else None, prefix="attack-") as name:
        folder = Path(name).resolve()
        os.environ["MPLCONFIGDIR"] = str(folder / "matplotlib")
        (folder / "box").mkdir()
        world = make(folder / "box")
        copies = Copies(world.box)
        truth = truth_of(world, copies)
        if options.kinds:
            numbers = mutants.first_of_each_kind(world, copies, numbers, options.seed)
        gc.collect()
        gc.freeze()
        well = True
        if options.prove:
            patience, children.HANG = children.HANG, dict.fromkeys(children.HANG, 10.0) | {"status": 10.0}
            well = _prove(lambda numbers, broken: list(attacked(world, copies, truth, numbers, 0, 1, broken)))
            children.HANG = patience
        began = time.monotonic()
        readings: list[Reading] = []
        with contextlib.suppress(KeyboardInterrupt):  # which ends the campaign with what there is
            for one in attacked(world, copies, truth, numbers, options.seed, options.processes):
                readings.append(one)
                _say(one, readings, options.only is not None)
        seconds = time.monotonic() - began
    failed, count = report.failed(readings), len({one.number for one in readings})
    rate = f"{count:,} mutants, {len(readings):,} readings, {seconds / 60:.1f} minutes, "
    rate += f"{count / seconds:.1f} mutants a second in {options.processes} process(es)"
    lines = [*report.table(readings), "", *report.speeds(readings), "", rate, f"{len(failed):,} failures"]
    print("\n".join([*lines, *report.kinds(readings)]))
    if unseen := report.without_effect(readings):
        print(f"never noticed by any reader: {', '.join(unseen)}")
    if options.out:
        _write(options.out, options, lines)
    _end(well and not failed and count == len(numbers))


def _say(one: Reading, readings: Sequence[Reading], whole: bool) -> None:
    """Print a reading in full, or now and then how many there were."""
    if whole:
        print(f"{one.said}\n{one.reader}: {one.outcome}\n{one.detail}\n")
    elif len(readings) % 500 == 0:
        said = f"{len(readings):,} readings, {len(report.failed(readings)):,} failures, at mutant {one.number:,}"
        print(said, file=sys.stderr, flush=True)


def _end(well: bool) -> None:
    """End this process, and not by sys.exit: libraries that torch loaded complain of what a fork left to them."""
    sys.stdout.flush()
    os._exit(not well)


def _prove(read: Callable[[list[int], Callable[[], None] | None], list[Reading]]) -> bool:
    """Return whether each kind of failure is seen in readers broken on purpose, and none in those that work."""
    sound = read([mutants.UNTOUCHED_BY_ALL], None)
    well = {one.outcome for one in sound} == {"unchanged"}
    print(f"working readers: {', '.join(f'{one.reader} {one.outcome}' for one in sound)}")
    for kind, broken in sabotage.KINDS.items():
        everyone = {"other numbers": sabotage.SHOWING, "lost": sabotage.LISTING}.get(kind, ("status",))
        number = mutants.UNTOUCHED if everyone == ("status",) else mutants.UNTOUCHED_BY_ALL
        seen = {one.reader for one in read([number], broken) if one.outcome == kind}
        print(f"{kind}: {'seen' if seen == {*everyone} else f'NOT SEEN but in {seen}'}", flush=True)
        well = well and seen == {*everyone}
    return well


def _import_late() -> None:
    for name in _LATE:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)


def _write(folder: Path, options: argparse.Namespace, lines: list[str]) -> None:
    import torch

    from ltsweep.run.hardware import hardware

    machine = hardware(torch.device("cpu"))
    slug = re.sub(r"[^a-z0-9]+", "-", f"{machine['cpu']} {machine['cores']} cores".lower()).strip("-")
    head = [
        f"# Attack: {options.mutants:,} mutants of a study's files, {machine['cpu']}, {machine['cores']} cores",
        "",
        f"Python {platform.python_version()}, {', '.join(f'{name} {version(name)}' for name in _PACKAGES)}; "
        f"`python -m benchmarks.attack --mutants {options.mutants} --seed {options.seed}`. "
        "A reading is one command on one mutant; each row counts readings.",
        "",
    ]
    (folder / f"attack-{slug}.md").write_text("\n".join([*head, *lines]) + "\n")


if __name__ == "__main__":
    main()
