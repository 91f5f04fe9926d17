"""Seconds to read and to draw studies of 1,000 and 10,000 cells, of 36 levels and 5 epochs each, made up.

    python benchmarks/analysis.py                     prints a table and writes benchmarks/results/analysis-<cpu>.md

The studies are written to a temporary folder (about 40 kB a cell on the disk) as the engine writes them: 5 inits, 4
learning rates, and seeds; a ticket and no controls. Reading is timed in a new process, imports included; the files
have just been written, so they come from memory. A figure is timed from the loaded study to its PNG's bytes.
"""

import argparse
import hashlib
import itertools
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from ltsweep.grid.key import key
from ltsweep.schema import CONFIG, DONE, EVALUATIONS, EVALUATIONS_FILE, LEVELS_FILE, STATUS, VERSION
from ltsweep.store.reader import digest_of, text_of
from ltsweep.store.tables import SCHEMAS
from multirun_analysis import figures, making, style
from multirun_analysis.errors import NothingToShow
from multirun_analysis.load import load

INITS = ("xavier_u", "xavier_n", "kaiming_u", "kaiming_n", "pytorch")
RATES = (1e-4, 1.2e-3, 0.01, 0.1)
N_LEVELS, EPOCHS, STEPS = 36, 5, 917
LAYERS = {"fc1.weight": 235200, "fc2.weight": 30000, "output.weight": 1000}
LIMITS = {1_000: 5.0, 10_000: 60.0}
READ = "import sys, pathlib; from multirun_analysis.load import load; print(len(load(pathlib.Path(sys.argv[1])).cells))"


def config(init: str, lr: float, seed: int) -> dict[str, object]:
    """Give a resolved config of the default grid."""
    shape = {"input_shape": [1, 28, 28], "num_classes": 10}
    return {
        "seed": seed, "levels": N_LEVELS - 1, "epochs": EPOCHS, "iterations": None, "batch_size": 60,
        "validation": 5000, "evaluate_every": None,
        "dataset": {"name": "mnist", "_target_": "ltsweep.data.torchvision_mnist", "_partial_": True, "kind": "MNIST",
                    **shape, "validation": 5000, "mean": 0.0, "std": 1.0},
        "model": {"name": "lenet_300_100", "_target_": "ltsweep.models.lenet_300_100", **shape,
                  "activation": "leaky_relu", "negative_slope": 0.05},
        "init": {"name": init, "_target_": "ltsweep.init.any", "_partial_": True, "gain": 1.0, "negative_slope": 0.05},
        "optimizer": {"name": "adam", "_target_": "torch.optim.Adam", "_partial_": True, "betas": [0.9, 0.999],
                      "eps": 1e-8, "weight_decay": 0.0, "fused": True},
        "lr": {"name": "constant", "_target_": "ltsweep.optim.constant", "_partial_": True, "value": lr},
        "prune_rate": {"name": "uniform", "_target_": "ltsweep.prune.uniform", "_partial_": True, "value": 0.2},
        "method": {"name": "imp", "_target_": "ltsweep.method.IMP", "scope": "layerwise", "rewind": "init",
                   "controls": [], "draws": 1},
    }  # fmt: skip


def tables(rng: np.random.Generator) -> dict[str, pa.Table]:
    """Return made-up evaluations and levels of one cell, by file."""
    layers = np.array([[round(n * 0.8**level) for n in LAYERS.values()] for level in range(N_LEVELS)])
    level, epoch = np.repeat(np.arange(N_LEVELS), EPOCHS), np.tile(np.arange(1, EPOCHS + 1), N_LEVELS)
    scores = {
        name: rng.normal(0.97 if name.endswith("accuracy") else 0.1, 1e-3, level.size)
        for name in EVALUATIONS if name.endswith(("_loss", "_accuracy"))
    }  # fmt: skip
    counts = {"weights_remaining": layers.sum(1), "weights_total": np.full(N_LEVELS, sum(LAYERS.values()))}
    evaluations = scores | {
        "arm": ["ticket"] * level.size, "draw": np.zeros_like(level), "level": level, "epoch": epoch.astype(float),
        "iteration": STEPS * epoch, "lr": np.full(level.size, 1.2e-3), "seconds": 1.5 * epoch,
        **{name: count[level] for name, count in counts.items()},
    }  # fmt: skip
    last = {f"final_{name}": values[EPOCHS - 1 :: EPOCHS] for name, values in scores.items()}
    summary = last | counts | {
        "arm": ["ticket"] * N_LEVELS, "draw": np.zeros(N_LEVELS, int), "level": np.arange(N_LEVELS),
        "iterations": np.full(N_LEVELS, STEPS * EPOCHS), "seconds": np.full(N_LEVELS, 7.5),
        "best_iteration": rng.integers(1, EPOCHS + 1, N_LEVELS) * float(STEPS),
        "early_stop_iteration": rng.integers(1, EPOCHS + 1, N_LEVELS) * float(STEPS),
        **{f"best_{split}_accuracy": last[f"final_{split}_accuracy"] for split in ("val", "test")},
        "early_stop_val_loss": last["final_val_loss"], "early_stop_test_accuracy": last["final_test_accuracy"],
        "layers": [list(LAYERS)] * N_LEVELS, "layer_remaining": layers.tolist(),
        "layer_total": [list(LAYERS.values())] * N_LEVELS,
    }  # fmt: skip
    return {
        file: pa.table(columns).select(SCHEMAS[file].names).cast(SCHEMAS[file])
        for file, columns in ((EVALUATIONS_FILE, evaluations), (LEVELS_FILE, summary))
    }


def write(study: Path, n_cells: int) -> None:
    """Write a study of so many cells."""
    rng = np.random.default_rng(0)
    for seed, init, lr in itertools.product(range(n_cells // 20), INITS, RATES):
        plain = json.loads(json.dumps(config(init, lr, seed)))  # no list twice, which YAML would write as an alias
        folder = study / key(plain)
        folder.mkdir(parents=True)
        (folder / CONFIG).write_text(yaml.dump(plain, Dumper=yaml.CSafeDumper, sort_keys=False))
        files = {}
        for file, table in tables(rng).items():
            sink = pa.BufferOutputStream()
            pq.write_table(table, sink, write_page_checksum=True)
            content = sink.getvalue().to_pybytes()
            (folder / file).write_bytes(content)
            files[file] = [len(content), (folder / file).stat().st_mtime_ns, hashlib.sha256(content).hexdigest()]
        status = {
            "schema": VERSION, "key": folder.name, "status": DONE, "level": N_LEVELS - 1, "levels": N_LEVELS - 1,
            "error": None, "seconds": 270.0, "files": files,
        }  # fmt: skip
        (folder / STATUS).write_text(text_of(status | {"sha256": digest_of(status)}))


def read_in_a_new_process(study: Path) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", READ, str(study)], check=True, capture_output=True)
    return time.perf_counter() - began


def drawn(study: Path) -> Iterator[tuple[str, float]]:
    """Give the seconds of each figure for which the study has something to show."""
    loaded = load(study)
    view = making.Request(()).view(loaded)
    for name in figures.names():
        figure = figures.get(name)
        began = time.perf_counter()
        try:
            style.image(figure.draw(figure.table(loaded, view), view), "screen")
        except NothingToShow:
            continue
        yield name, time.perf_counter() - began


def processor() -> str:
    """Name the processor, as the operating system does."""
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=list(LIMITS), help="cells of each study")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for the table")
    parser.add_argument("--beside", default="nothing else of note", help="what else ran on the machine, for the table")
    asked = parser.parse_args()
    rows: dict[str, list[str]] = {}
    for n, n_cells in enumerate(asked.cells):
        with tempfile.TemporaryDirectory() as folder:
            study = Path(folder) / "study"
            write(study, n_cells)
            allowed = f" (at most {LIMITS[n_cells]:g})" if n_cells in LIMITS else ""
            times = [(f"read{allowed}", read_in_a_new_process(study)), *drawn(study)]
        for name, seconds in times:
            row = rows.setdefault(name.partition(" (")[0], ["–"] * len(asked.cells))
            row[n] = f"{seconds:.1f}{name.removeprefix('read') if name.startswith('read') else ''}"
            print(f"{n_cells:>7,} cells  {name:28}  {seconds:6.1f} s", flush=True)
    load_average = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    text = [
        f"# Reading and drawing a study: {processor()}, {os.cpu_count()} cores",
        "",
        f"Seconds by `benchmarks/analysis.py`, Python {platform.python_version()}; 36 levels, 5 epochs a cell.",
        f"Meanwhile on the machine: {asked.beside} (load average at the end {load_average}).",
        "",
        f"| | {' | '.join(f'{n_cells:,} cells' for n_cells in asked.cells)} |",
        "|---|" + "---|" * len(asked.cells),
        *(f"| {name} | {' | '.join(found)} |" for name, found in rows.items()),
        "",
    ]
    asked.out.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^a-z0-9]+", "-", f"analysis {processor()} {os.cpu_count()} cores".lower()).strip("-")
    (asked.out / f"{stem}.md").write_text("\n".join(text))
    print(asked.out / f"{stem}.md")


if __name__ == "__main__":
    main()
