"""Thousands of small cells in one process: memory, open files and threads must stay level.

    python benchmarks/soak.py --out benchmarks/results      2,000 cells, some minutes; writes soak-<processor>.md

Each round is one command's work, from composed cells to records on the disk, through `ltsweep.cluster.local.compute`.
Exits with 1 if something grows.
"""

import argparse
import contextlib
import gc
import io
import os
import re
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_module
from scipy.stats import theilslopes

from ltsweep.cluster.local import compute
from ltsweep.grid.cell import Cell, from_config
from ltsweep.run.hardware import hardware
from ltsweep.run.prepare import prepare
from ltsweep.run.settings import Settings

SMALL = ("dataset=digits", "levels=1", "iterations=4", "evaluate_every=2", "method.controls=[reinit]")
# What may be left after a round's noise: megabytes a thousand cells.
ALLOWED = 5.0


def resident() -> float:
    """Return the megabytes of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def sample() -> tuple[float, int, int, int]:
    """Return resident megabytes, open files, threads, and the objects of Python that something still refers to."""
    memory = resident()
    gc.collect()
    return memory, len(os.listdir("/proc/self/fd")), threading.active_count(), len(gc.get_objects())


def row(cells: int, sampled: tuple[float, int, int, int]) -> str:
    """Return a line of the table."""
    memory, *counts = sampled
    return f"| {cells:,} | {memory:.1f} | " + " | ".join(f"{count:,}" for count in counts) + " |"


def cells_of(first: int, count: int) -> list[Cell]:
    """Return cells that differ in their seed."""
    with initialize_config_module("ltsweep.conf", version_base="1.3"):
        config = compose("config", overrides=list(SMALL))
    cells = []
    for seed in range(first, first + count):
        config.seed = seed
        cells.append(from_config(config))
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--cells", type=int, default=50, help="a round")
    parser.add_argument("--out", type=Path, help="folder for the table")
    options = parser.parse_args()
    began, samples = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            study = Path(folder) / f"round_{number}"
            cells = cells_of(number * options.cells, options.cells)
            with contextlib.redirect_stdout(io.StringIO()):
                statuses = compute(prepare(cells, Settings(study, Path(folder), device="cpu", workers=1)))
            assert {status["status"] for status in statuses.values()} == {"done"}
            samples.append(sample())
            print(f"{len(samples) * options.cells:6,} cells  {samples[-1][0]:7.1f} MB  "
                  f"{samples[-1][1]} files  {samples[-1][2]} threads", flush=True)  # fmt: skip
    minutes = (time.monotonic() - began) / 60
    done = np.arange(1, len(samples) + 1) * options.cells
    settled = len(samples) // 4  # the first rounds fill caches
    memory = np.array([megabytes for megabytes, *_ in samples])
    slope = float(theilslopes(memory[settled:], done[settled:]).slope) * 1000
    files, threads, objects = ([one[i] for one in samples[settled:]] for i in (1, 2, 3))
    level = slope <= ALLOWED and len(set(files)) == 1 and len(set(threads)) == 1 and max(objects) - min(objects) < 1000
    machine = hardware(torch.device("cpu"))
    shown = sorted({*range(0, len(samples), max(1, len(samples) // 10)), len(samples) - 1})
    lines = [
        f"# Soak: {done[-1]:,} cells in one process, {machine['cpu']}, {machine['cores']} cores",
        "",
        f"torch {torch.__version__}; `benchmarks/soak.py --rounds {options.rounds} --cells {options.cells}`, "
        f"{minutes:.1f} minutes; a cell is {' '.join(SMALL)}: two levels, three networks, all its records.",
        "",
        "| cells | resident MB | open files | threads | Python objects |",
        "|---|---|---|---|---|",
        *(row(int(done[i]), samples[i]) for i in shown),
        "",
        f"After the first quarter: {memory[settled:].min():.1f} to {memory[settled:].max():.1f} MB, "
        f"{slope:+.2f} MB a thousand cells (Theil-Sen); {'level' if level else 'NOT level'}.",
    ]  # fmt: skip
    print("\n".join(lines))
    if options.out:
        slug = re.sub(r"[^a-z0-9]+", "-", f"{machine['cpu']} {machine['cores']} cores".lower()).strip("-")
        (options.out / f"soak-{slug}.md").write_text("\n".join(lines) + "\n")
    sys.exit(not level)


if __name__ == "__main__":
    main()
