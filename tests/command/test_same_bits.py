"""The very bits of records and tickets: a change of structure must not change one of them.

The hashes were written before the code was divided into folders. Bits depend on the processor's kernels, so both
libraries that make matrix products have hashes of their own, and each library is held to kernels that every processor
since 2015 has. Another version of torch may round otherwise: there the test is skipped. After a change that is meant
to change numbers, write the hashes anew and say so in the changelog:

    python tests/command/test_same_bits.py
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pytest
import torch

from ltsweep.engine import gemm

HASHES = Path(__file__).parents[1] / "golden" / "same_bits.json"
# Kernels that do not depend on the processor: of torch's own operators, MKL, OpenBLAS and oneDNN.
KERNELS = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}
COMMON = ("dataset=digits", "device=cpu", "workers=1", "stack_size=4")
RUNS = {
    "layerwise": ("-m", "init=xavier_u,pytorch", "lr=1.2e-3,0.1", "levels=3", "epochs=2", "method.controls=[reinit]"),
    "global": (
        "-m", "optimizer=sgd", "lr=cosine", "lr.value=0.01,0.05", "prune_rate=by_type", "method.scope=global",
        "method.controls=[random_mask]", "method.draws=2", "levels=2", "iterations=30", "evaluate_every=7", "seed=7",
    ),
}  # fmt: skip
RUN = """
from ltsweep.command import main
from ltsweep.engine import gemm

gemm.by_numpy = lambda: {by_numpy}
main()
"""


def hashes(study: Path) -> dict[str, str]:
    """Return key/file -> SHA-256 of each ticket's bytes, and of each table's values without the seconds."""
    found = {}
    for path in sorted(study.rglob("*")):
        if path.suffix == ".safetensors":
            content = path.read_bytes()
        elif path.suffix == ".parquet":
            table = pd.read_parquet(path).drop(columns="seconds")
            rows = table[sorted(table.columns)].itertuples(index=False)
            content = repr([[v.hex() if isinstance(v, float) else str(v) for v in row] for row in rows]).encode()
        else:
            continue
        found[str(path.relative_to(study))] = hashlib.sha256(content).hexdigest()[:32]
    return found


def run(name: str, folder: Path, by_numpy: bool) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if key != "LTSWEEP_DATA"}
    command = [sys.executable, "-c", RUN.format(by_numpy=by_numpy), *RUNS[name], *COMMON]
    subprocess.run(command, cwd=folder, env=clean | KERNELS, check=True, stdout=subprocess.DEVNULL)
    return hashes(folder / "multirun" / "default")


@pytest.mark.parametrize("name", RUNS)
def test_the_bits_are_those_from_before(tmp_path, name):
    written = json.loads(HASHES.read_text())
    if written["version"] != torch.__version__.partition("+")[0]:
        pytest.skip(f"the hashes are of torch {written['version']}")
    products = "numpy" if gemm.by_numpy() else "torch"
    assert run(name, tmp_path, gemm.by_numpy()) == written[products][name]


def write() -> None:
    """Write the hashes anew."""
    found: dict[str, object] = {"version": torch.__version__.partition("+")[0]}
    for products in ("numpy", "torch"):
        each = {}
        for name in RUNS:
            with tempfile.TemporaryDirectory() as folder:
                each[name] = run(name, Path(folder), products == "numpy")
        found[products] = each
    HASHES.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    write()
