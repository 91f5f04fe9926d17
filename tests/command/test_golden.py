"""Golden numbers through the real command: what these runs gave once, they give still.

The counts must agree exactly; losses to a thousandth and accuracies to one example of the split, which leaves room for
how another processor rounds. After a change that is meant to change numbers, write them anew and say so in the log:

    python tests/command/test_golden.py
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pytest
import yaml

GOLDEN = Path(__file__).parents[1] / "golden"

# File name -> overrides. Few iterations: differences in the last bit have no time to grow.
RUNS = {
    "digits_imp": ["init=xavier_u,kaiming_n", "levels=2", "iterations=30", "evaluate_every=15"],
    "digits_controls": [
        "method.controls=[reinit,random_mask]",
        "prune_rate=by_type",
        "prune_rate.value=0.3",
        "method.scope=global",
        "optimizer=sgd",
        "lr=cosine",
        "lr.value=0.05",
        "levels=1",
        "iterations=20",
        "evaluate_every=20",
        "seed=7",
    ],
    "digits_lenet5": [
        "model=lenet5",
        "model.activation=leaky_relu",
        "lr=warmup",
        "lr.warmup=4",
        "levels=1",
        "iterations=8",
    ],
}
COMMON = ["dataset=digits", "workers=1"]
EXAMPLES = {"train": 1437 - 200, "val": 200, "test": 360}


def numbers(study):
    """Return the rows of every cell as plain numbers, by its initialization: a key changes with every new default."""
    found = {}
    for folder in sorted(path for path in study.iterdir() if path.is_dir()):
        levels = pd.read_parquet(folder / "levels.parquet")
        rows = pd.read_parquet(folder / "evaluations.parquet").drop(columns=["seconds"])
        init = yaml.safe_load((folder / "config.yaml").read_text())["init"]["name"]
        found[f"init={init}"] = {
            "evaluations": json.loads(rows.to_json(orient="records", double_precision=8)),
            "layer_remaining": [[int(count) for count in counts] for counts in levels["layer_remaining"]],
        }
    return found


def run(name, folder, device):
    """Run the command in `folder` and return its numbers."""
    arguments = [*COMMON, *RUNS[name], f"device={device}"]
    environment = {key: value for key, value in os.environ.items() if key != "LTSWEEP_DATA"}
    subprocess.run(
        [sys.executable, "-m", "ltsweep", *arguments],
        cwd=folder,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return numbers(Path(folder) / "multirun/default")


def assert_close(found, golden, loss, examples):
    """Fail unless counts agree exactly, losses to `loss` and accuracies to so many examples."""
    assert found.keys() == golden.keys()
    for key, cell in golden.items():
        assert found[key]["layer_remaining"] == cell["layer_remaining"]
        assert len(found[key]["evaluations"]) == len(cell["evaluations"])
        for row, expected in zip(found[key]["evaluations"], cell["evaluations"], strict=True):
            assert row.keys() == expected.keys()
            where = f"{key} {expected['arm']} level {expected['level']} iteration {expected['iteration']}"
            for name, value in expected.items():
                split = name.split("_")[0]
                if value is None:
                    assert row[name] is None, f"{name} of {where}"
                elif name.endswith("_loss"):
                    assert row[name] == pytest.approx(value, rel=loss), f"{name} of {where}"
                elif name.endswith("_accuracy"):
                    slack = (examples + 0.01) / EXAMPLES[split]
                    assert row[name] == pytest.approx(value, abs=slack), f"{name} of {where}"
                elif isinstance(value, float):
                    assert row[name] == pytest.approx(value, rel=1e-6), f"{name} of {where}"
                else:
                    assert row[name] == value, f"{name} of {where}"


def read(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


@pytest.mark.parametrize("name", RUNS)
def test_golden_numbers(tmp_path, name):
    golden = read(name)
    assert golden["command"] == f"python -m ltsweep {' '.join([*COMMON, *RUNS[name], 'device=cpu'])}"
    assert_close(run(name, tmp_path, "cpu"), golden["cells"], loss=1e-3, examples=1)


@pytest.mark.gpu
@pytest.mark.parametrize("name", RUNS)
def test_golden_numbers_on_a_gpu(tmp_path, name):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    # Other kernels, other sums: the seeds are drawn on the CPU, so the runs are the same in all but rounding.
    assert_close(run(name, tmp_path, "cuda"), read(name)["cells"], loss=1e-2, examples=3)


def test_every_golden_file_is_of_a_run():
    assert {path.stem for path in GOLDEN.glob("*.json")} >= set(RUNS)
    assert {path.stem for path in GOLDEN.glob("digits_*.json")} == set(RUNS)


@pytest.mark.mnist
@pytest.mark.slow
def test_a_short_run_on_mnist_learns_and_keeps_what_it_learned(command, mnist_dir):
    """200 iterations of LeNet-300-100 know MNIST to better than 85 %, dense and at 80 % of the weights alike."""
    command("device=cpu", "iterations=200", "levels=1", "evaluate_every=100", "workers=1", LTSWEEP_DATA=str(mnist_dir))
    (folder,) = command.study().cells().values()
    assert folder.config["dataset"]["name"] == "mnist"
    assert list(folder.levels["weights_remaining"]) == [266_200, 235_200 * 4 // 5 + 30_000 * 4 // 5 + 900]
    rows = folder.evaluations
    assert list(rows["iteration"]) == [0, 100, 200] * 2
    for split, examples in (("train", 55_000), ("val", 5_000), ("test", 10_000)):
        right = rows[f"{split}_accuracy"] * examples
        assert (right - right.round()).abs().max() < 1e-5
        final = rows[rows["iteration"] == 200][f"{split}_accuracy"]
        assert final.between(0.85, 0.97).all()
        assert (rows[rows["iteration"] == 200][f"{split}_loss"].between(0.1, 0.5)).all()
    assert abs(final.iloc[1] - final.iloc[0]) < 0.03  # a fifth of the weights is not missed


def write():
    """Write every golden file anew."""
    GOLDEN.mkdir(exist_ok=True)
    for name in RUNS:
        with tempfile.TemporaryDirectory() as folder:
            cells = run(name, folder, "cpu")
        command = f"python -m ltsweep {' '.join([*COMMON, *RUNS[name], 'device=cpu'])}"
        (GOLDEN / f"{name}.json").write_text(json.dumps({"command": command, "cells": cells}, indent=1) + "\n")
        print(GOLDEN / f"{name}.json")


if __name__ == "__main__":
    write()
