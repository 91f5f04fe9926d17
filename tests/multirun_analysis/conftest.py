"""Studies as the engine writes them, made up: the analysis is tested without training anything."""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.numpy import save_file

from multirun_analysis.load import Study, load
from multirun_analysis.schema import EVALUATIONS, LEVELS

LAYERS = {"fc1.weight": (300, 784), "fc2.weight": (100, 300), "output.weight": (10, 100)}
SCORES = [f"{split}_{what}" for split in ("train", "val", "test") for what in ("loss", "accuracy")]
_DENSE = {"xavier_u": 0.979, "xavier_n": 0.9785, "kaiming_u": 0.975, "kaiming_n": 0.974}


def _config(overrides: Mapping[str, object]) -> dict[str, object]:
    config: dict[str, object] = {
        "seed": 0,
        "levels": 15,
        "epochs": 5,
        "iterations": None,
        "batch_size": 60,
        "validation": 5000,
        "evaluate_every": None,
        "study": "made_up",
        "device": "cpu",
        "data_dir": "data",
        "force": False,
        "model": {
            "name": "lenet",
            "_target_": "ltsweep.models.lenet",
            "activation": "leaky_relu",
            "negative_slope": 0.05,
        },
        "init": {"name": "xavier_n", "_target_": "ltsweep.init.xavier_normal", "gain": 1.0},
        "optimizer": {"name": "adam", "_target_": "torch.optim.Adam", "betas": [0.9, 0.999]},
        "prune_rate": {"name": "half_output", "value": 0.2, "output": 0.1},
        "lr": {"name": "constant", "value": 1.2e-3},
        "dataset": {"name": "mnist", "_target_": "ltsweep.data.mnist"},
        "method": {
            "name": "imp",
            "_target_": "ltsweep.method.IMP",
            "scope": "layerwise",
            "rewind": "init",
            "controls": ["reinit"],
            "draws": 3,
        },
    }
    for name, value in overrides.items():
        group, _, inner = name.partition(".")
        if inner:
            config[group] = {**config[group], inner: value}
        elif isinstance(config[name], dict):
            config[name] = {**config[name], "value" if name in ("lr", "prune_rate") else "name": value}
        else:
            config[name] = value
    kinds = {"u": "uniform", "n": "normal"}
    init, (family, _, kind) = config["init"], config["init"]["name"].rpartition("_")
    config["init"] = {**init, "_target_": f"ltsweep.init.{family}_{kinds.get(kind, 'constant')}"}
    return config


def _counts(rate: float, levels: int) -> list[list[int]]:
    """Weights remaining in each layer at each level: hidden layers at `rate`, the output layer at half of it."""
    rows = [[300 * 784, 300 * 100, 100 * 10]]
    for _ in range(levels):
        rows.append([n - round(r * n) for n, r in zip(rows[-1], (rate, rate, rate / 2), strict=True)])
    return rows


def _accuracy(config: Mapping[str, object], arm: str, remaining: float, progress: float) -> float:
    dense = _DENSE.get(config["init"]["name"], 0.97) - 0.15 * min(config["lr"]["value"], 1.0)
    depth = -np.log(remaining)
    bump = 0.003 * np.exp(-((depth - 1.8) ** 2)) if arm == "ticket" else -0.004 * depth
    drop = 0.004 * max(0.0, depth - 3.2) ** 2
    return (dense + bump - drop) * (1 - 0.06 * np.exp(-4 * progress))


def _records(
    config: Mapping[str, object], key: str, last: int, arms: Mapping[str, int]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(int(key, 16))
    counts, held_out = _counts(config["prune_rate"]["value"], last), bool(config["validation"])
    evaluations, levels = [], []
    for arm, draws in arms.items():
        for draw in range(draws):
            for level in range(0 if arm == "ticket" else 1, last + 1):
                rows = []
                for epoch in range(1, config["epochs"] + 1):
                    accuracy = _accuracy(
                        config, arm, sum(counts[level]) / sum(counts[0]), epoch / config["epochs"]
                    ) + rng.normal(0, 0.0008)
                    scores = {"train": min(accuracy + 0.012, 1.0), "val": accuracy + 0.001, "test": accuracy}
                    rows.append(
                        {
                            "arm": arm,
                            "draw": draw,
                            "level": level,
                            "weights_remaining": sum(counts[level]),
                            "weights_total": sum(counts[0]),
                            "epoch": float(epoch),
                            "iteration": 917 * epoch,
                            **{f"{split}_loss": 3.2 * (1 - score) for split, score in scores.items()},
                            **{f"{split}_accuracy": score for split, score in scores.items()},
                            **({} if held_out else {"val_loss": np.nan, "val_accuracy": np.nan}),
                            "lr": config["lr"]["value"],
                            "seconds": 1.5 * epoch,
                        }
                    )
                best = max(rows, key=lambda row: row["val_accuracy"])
                levels.append(
                    {
                        **{f"final_{score}": rows[-1][score] for score in SCORES},
                        **{name: rows[-1][name] for name in ("arm", "draw", "level", "seconds")},
                        **{name: rows[-1][name] for name in ("weights_remaining", "weights_total")},
                        "iterations": rows[-1]["iteration"],
                        "best_iteration": best["iteration"] if held_out else None,
                        "best_val_accuracy": best["val_accuracy"] if held_out else None,
                        "best_test_accuracy": best["test_accuracy"] if held_out else None,
                        "early_stop_iteration": best["iteration"] if held_out else None,
                        "early_stop_val_loss": best["val_loss"] if held_out else None,
                        "early_stop_test_accuracy": best["test_accuracy"] if held_out else None,
                        "layers": list(LAYERS),
                        "layer_remaining": counts[level],
                        "layer_total": counts[0],
                    }
                )
                evaluations += rows
    return pd.DataFrame(evaluations, columns=EVALUATIONS.names), pd.DataFrame(levels, columns=LEVELS.names)


def _init(config: Mapping[str, object], key: str) -> dict[str, np.ndarray]:
    rng, name = np.random.default_rng(int(key, 16)), config["init"]["name"]
    tensors = {}
    for layer, (out, into) in LAYERS.items():
        std = np.sqrt(2 / (into + out)) if name.startswith("xavier") else np.sqrt(1 / into)
        draw = {
            "u": rng.uniform(-np.sqrt(3), np.sqrt(3), (out, into)),
            "n": rng.standard_normal((out, into)),
            "t": rng.choice([-1.0, 1.0], (out, into)),
        }[name[-1]]
        tensors |= {
            layer: (std * draw).astype("float32"),
            layer.replace("weight", "bias"): np.zeros(out, "float32"),
        }
    return tensors


def _largest(weights: np.ndarray, n: int) -> np.ndarray:
    """Keep the `n` weights of the largest magnitude."""
    return np.argsort(np.argsort(-np.abs(weights).ravel())).reshape(weights.shape) < n


def _write(
    study: Path,
    *,
    status: str = "done",
    last: int | None = None,
    error: str | None = None,
    arms: Mapping[str, int] | None = None,
    tickets: bool = False,
    **overrides: object,
) -> str:
    """Write one cell and give its key. Overrides are those of the command line: `write(study, init="kaiming_n")`."""
    config = _config({name.replace("__", "."): value for name, value in overrides.items()})
    key = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]
    folder = study / key
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    last = (config["levels"] if status == "done" else -1) if last is None else last
    if last >= 0:
        evaluations, levels = _records(config, key, last, arms or {"ticket": 1})
        evaluations.astype({"val_loss": float, "val_accuracy": float}).to_parquet(folder / "evaluations.parquet")
        levels.to_parquet(folder / "levels.parquet")
    if tickets:
        (folder / "tickets").mkdir()
        initial = _init(config, key)
        save_file(initial, folder / "tickets" / "init.safetensors")
        for level, counts in enumerate(_counts(config["prune_rate"]["value"], last)):
            if level:
                kept = {name: _largest(initial[name], n) for name, n in zip(LAYERS, counts, strict=True)}
                shapes = {"shapes": json.dumps({name: list(mask.shape) for name, mask in kept.items()})}
                packed = {name: np.packbits(mask) for name, mask in kept.items()}
                save_file(packed, folder / "tickets" / f"level_{level:02d}.safetensors", shapes)
    (folder / "status.json").write_text(
        json.dumps(
            {
                "schema": 1,
                "key": key,
                "status": status,
                "level": last,
                "levels": config["levels"],
                "error": error,
                "seconds": 7.5 * (last + 1),
                "started": "2020-01-01T00:00:00",
                "updated": "2020-01-01T00:01:00",
                "versions": {},
                "hardware": {},
                "stack": {},
            }
        )
    )
    return key


@pytest.fixture(scope="session")
def write() -> Callable[..., str]:
    """Give the function that writes one cell: `write(study, init="kaiming_n")`."""
    return _write


@pytest.fixture
def write_cell(write: Callable[..., str], tmp_path: Path) -> Callable[..., str]:
    """Give a function that adds one cell to the study at `tmp_path / "made_up"`."""
    return functools.partial(write, tmp_path / "made_up")


@pytest.fixture(scope="session")
def mixed_folder(tmp_path_factory: pytest.TempPathFactory, write: Callable[..., str]) -> Path:
    """Give 4 inits x 2 learning rates x 3 seeds with re-inits, to level 6, and one cell of each thing gone wrong."""
    study = tmp_path_factory.mktemp("multirun") / "mixed"
    for init in _DENSE:
        for lr in (1.2e-3, 0.1):
            for seed in range(3):
                write(
                    study,
                    init=init,
                    lr=lr,
                    seed=seed,
                    levels=6,
                    epochs=3,
                    arms={"ticket": 1, "reinit": 2},
                    tickets=True,
                )
    common = {"init": "xavier_u", "lr": 0.1, "levels": 6, "epochs": 3}
    trace = "Traceback (most recent call last):\n  ...\nRuntimeError: out of memory"
    write(study, seed=3, status="failed", last=2, error=trace, **common)
    write(study, seed=4, status="diverged", last=3, error="loss is nan at level 3, iteration 917", **common)
    write(study, seed=5, status="pending", **common)
    write(study, seed=6, status="running", last=1, **common)
    torn = study / write(study, seed=7, **common) / "evaluations.parquet"
    torn.write_bytes(torn.read_bytes()[:1000])
    return study


@pytest.fixture(scope="session")
def mixed(mixed_folder: Path) -> Study:
    """Load `mixed_folder`."""
    return load(mixed_folder)
