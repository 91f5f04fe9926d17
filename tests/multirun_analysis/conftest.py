"""Studies as the engine writes them, made up: the analysis is tested without training anything."""

import functools
import hashlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from ltsweep.grid.key import key as key_of
from ltsweep.schema import (
    CONFIG,
    DIVERGED,
    DONE,
    EVALUATIONS_FILE,
    FAILED,
    INITIAL,
    LEVELS,
    LEVELS_FILE,
    NUMBERED,
    PENDING,
    READINGS_FILE,
    REINIT,
    RUNNING,
    SCORES,
    STATUS,
    TICKET,
    TICKETS,
    VERSION,
    ticket_file,
)
from ltsweep.store.reader import digest_of, text_of
from ltsweep.store.tables import Row, as_parquet
from ltsweep.store.tickets import pack
from multirun_analysis.load import Study, load

LAYERS = {"fc1.weight": (300, 784), "fc2.weight": (100, 300), "output.weight": (10, 100)}
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
        elif isinstance(config.get(name), dict):
            config[name] = {**config[name], "value" if name in NUMBERED else "name": value}
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
    bump = 0.003 * np.exp(-((depth - 1.8) ** 2)) if arm == TICKET else -0.004 * depth
    drop = 0.004 * max(0.0, depth - 3.2) ** 2
    return (dense + bump - drop) * (1 - 0.06 * np.exp(-4 * progress))


def _records(config: Mapping[str, object], key: str, last: int, arms: Mapping[str, int]) -> tuple[list[Row], list[Row]]:
    """Return the rows of `evaluations.parquet` and of `levels.parquet`."""
    rng = np.random.default_rng(int(key, 16))
    counts = _counts(config["prune_rate"]["value"], last)
    evaluations, levels = [], []
    for arm, draws in arms.items():
        for draw in range(draws):
            for level in range(0 if arm == TICKET else 1, last + 1):
                remaining = {"weights_remaining": sum(counts[level]), "weights_total": sum(counts[0])}
                where = {"arm": arm, "draw": draw, "level": level, **remaining}
                rows = [where | _evaluation(config, arm, counts, level, epoch, rng) for epoch in _epochs(config)]
                layers = {"layers": list(LAYERS), "layer_remaining": counts[level], "layer_total": counts[0]}
                levels.append(where | _summary(rows, held_out=bool(config["validation"])) | layers)
                evaluations += rows
    return evaluations, levels


def _epochs(config: Mapping[str, object]) -> range:
    return range(1, config["epochs"] + 1)


def _evaluation(
    config: Mapping[str, object], arm: str, counts: list[list[int]], level: int, epoch: int, rng: np.random.Generator
) -> Row:
    remaining, progress = sum(counts[level]) / sum(counts[0]), epoch / config["epochs"]
    accuracy = _accuracy(config, arm, remaining, progress) + rng.normal(0, 0.0008)
    scores = {"train": min(accuracy + 0.012, 1.0), "val": accuracy + 0.001, "test": accuracy}
    return {
        "epoch": float(epoch),
        "iteration": 917 * epoch,
        **{f"{split}_loss": 3.2 * (1 - score) for split, score in scores.items()},
        **{f"{split}_accuracy": score for split, score in scores.items()},
        **({} if config["validation"] else {"val_loss": math.nan, "val_accuracy": math.nan}),
        **({} if config.get("evaluate_train", True) else {"train_loss": None, "train_accuracy": None}),
        "lr": config["lr"]["value"],
        "seconds": 1.5 * epoch,
    }


def _summary(rows: list[Row], *, held_out: bool) -> Row:
    last, chosen = rows[-1], dict.fromkeys(_CHOSEN)
    if held_out:
        best = max(rows, key=lambda row: row["val_accuracy"])
        values = (best[name] for name in ("iteration", "val_accuracy", "test_accuracy", "iteration", "val_loss"))
        chosen = dict(zip(_CHOSEN, [*values, best["test_accuracy"]], strict=True))
    ends = {f"final_{score}": last[score] for score in SCORES}
    return {"iterations": last["iteration"], "seconds": last["seconds"], **ends, **chosen}


def _as(headline: str, row: Row) -> Row:
    """Return a row as a problem with another headline would write it: returns are 200 times the accuracies."""
    if headline == "accuracy":
        return row
    if headline == "loss":
        chosen = {name: value for name, value in row.items() if name in _CHOSEN and name.endswith("accuracy")}
        losses = {name.replace("accuracy", "loss"): 3.2 * (1 - value) for name, value in chosen.items()}
        return {name: value for name, value in row.items() if name not in chosen} | losses
    lacking = ("val_loss", "test_loss", "final_val_loss", "final_test_loss")
    kept = {name: value for name, value in row.items() if name not in lacking and not name.startswith("early_stop")}
    games = {name.replace("accuracy", "return"): 200 * kept.pop(name) for name in [*kept] if "accuracy" in name}
    before, at = ("final_", row["iterations"]) if "iterations" in row else ("", row["iteration"])
    return kept | games | {f"{before}steps": 128 * at, f"{before}games": at}


# What validation chooses, in the order of the record.
_CHOSEN = [name for name in LEVELS if name.startswith(("best_", "early_stop_"))]


def _readings(levels: list[Row], names: Sequence[str]) -> list[Row]:
    """Return a reading of each layer and of the whole network at the end of each level, for each name."""
    rows = []
    for level, name in itertools.product(levels, names):
        where = {column: level[column] for column in ("arm", "draw", "level")} | {"iteration": level["iterations"]}
        for place, left in (("", level["weights_remaining"]), *zip(LAYERS, level["layer_remaining"], strict=True)):
            rows.append(where | {"name": name, "place": place, "at": None, "value": math.sqrt(left)})
    return rows


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
    kept = np.zeros(weights.size, dtype=bool)
    kept[np.argpartition(-np.abs(weights).ravel(), n - 1)[:n]] = True
    return kept.reshape(weights.shape)


def _write_tickets(folder: Path, config: Mapping[str, object], key: str, last: int) -> None:
    (folder / TICKETS).mkdir()
    initial = _init(config, key)
    save_file(initial, folder / INITIAL)
    for level, counts in enumerate(_counts(config["prune_rate"]["value"], last)):
        if level:
            kept = {name: _largest(initial[name], n) for name, n in zip(LAYERS, counts, strict=True)}
            (folder / ticket_file(level)).write_bytes(pack(kept))


def _write(
    study: Path,
    *,
    status: str = DONE,
    last: int | None = None,
    error: str | None = None,
    arms: Mapping[str, int] | None = None,
    tickets: bool = False,
    readings: Sequence[str] = (),
    version: int = VERSION,
    headline: str = "accuracy",
    **overrides: object,
) -> str:
    """Write one cell and return its key. Overrides are those of the command line: `write(study, init="kaiming_n")`."""
    config = _config({name.replace("__", "."): value for name, value in overrides.items()})
    key, noise = key_of(config, version), key_of(config, 1)
    folder = study / key
    folder.mkdir(parents=True)
    (folder / CONFIG).write_text(yaml.safe_dump(config), encoding="utf-8")
    last = (config["levels"] if status == DONE else -1) if last is None else last
    if last >= 0:
        evaluations, levels = _records(config, noise, last, arms or {TICKET: 1})
        evaluations, levels = ([_as(headline, row) for row in rows] for rows in (evaluations, levels))
        (folder / EVALUATIONS_FILE).write_bytes(as_parquet(EVALUATIONS_FILE, evaluations))
        (folder / LEVELS_FILE).write_bytes(as_parquet(LEVELS_FILE, levels))
        if readings:
            (folder / READINGS_FILE).write_bytes(as_parquet(READINGS_FILE, _readings(levels, readings)))
    if tickets:
        _write_tickets(folder, config, noise, last)
    times = {"seconds": 7.5 * (last + 1), "started": "2020-01-01T00:00:00", "updated": "2020-01-01T00:01:00"}
    made_with = {"versions": {}, "hardware": {}}
    progress = {"status": status, "level": last, "levels": config["levels"], "error": error}
    if version > 1 and last >= 0:
        trained = {name: count for name, count in (arms or {TICKET: 1}).items() if last or name == TICKET}
        progress["arms"] = {f"{name}/{draw}": last for name, count in trained.items() for draw in range(count)}
    _seal(folder, {"schema": version, "key": key, **progress, **times, **made_with})
    return key


def _seal(folder: Path, status: Mapping[str, object]) -> None:
    """Write a status that notes the files of its cell as they are now, and its own SHA-256."""
    files = {}
    for path in sorted([*folder.glob("*.parquet"), *folder.glob("tickets/*"), folder / CONFIG]):
        facts, digest = path.stat(), hashlib.sha256(path.read_bytes()).hexdigest()
        files[path.relative_to(folder).as_posix()] = [facts.st_size, facts.st_mtime_ns, digest]
    noted = {name: value for name, value in status.items() if name != "sha256"} | {"files": files}
    (folder / STATUS).write_text(text_of(noted | {"sha256": digest_of(noted)}), encoding="utf-8")


@pytest.fixture(scope="session")
def seal() -> Callable[[Path, Mapping[str, object]], None]:
    """Return the function that writes a cell's status, with notes of its files as they are now."""
    return _seal


@pytest.fixture(scope="session")
def write() -> Callable[..., str]:
    """Return the function that writes one cell: `write(study, init="kaiming_n")`."""
    return _write


@pytest.fixture
def write_cell(write: Callable[..., str], tmp_path: Path) -> Callable[..., str]:
    """Return a function that adds one cell to the study at `tmp_path / "made_up"`."""
    return functools.partial(write, tmp_path / "made_up")


@pytest.fixture(scope="session")
def mixed_folder(tmp_path_factory: pytest.TempPathFactory, write: Callable[..., str]) -> Path:
    """Return the folder of 4 inits x 2 learning rates x 3 seeds with re-inits, to level 6.

    The cells of one choice have readings too, and there is one cell of each thing gone wrong.
    """
    study = tmp_path_factory.mktemp("multirun") / "mixed"
    for init in _DENSE:
        for lr in (1.2e-3, 0.1):
            for seed in range(3):
                readings = ("norm", "sign_changes") if (init, lr) == ("xavier_u", 0.1) else ()
                made = {"levels": 6, "epochs": 3, "arms": {TICKET: 1, REINIT: 2}, "readings": readings}
                write(study, init=init, lr=lr, seed=seed, tickets=True, **made)
    common = {"init": "xavier_u", "lr": 0.1, "levels": 6, "epochs": 3}
    trace = "Traceback (most recent call last):\n  ...\nRuntimeError: out of memory"
    write(study, seed=3, status=FAILED, last=2, error=trace, **common)
    write(study, seed=4, status=DIVERGED, last=3, error="loss is nan at level 3, iteration 917", **common)
    write(study, seed=5, status=PENDING, **common)
    write(study, seed=6, status=RUNNING, last=1, **common)
    torn = study / write(study, seed=7, **common) / "evaluations.parquet"
    torn.write_bytes(torn.read_bytes()[:1000])
    return study


@pytest.fixture(scope="session")
def mixed(mixed_folder: Path) -> Study:
    """Return `mixed_folder` as tables."""
    return load(mixed_folder)


# The data sets of the study of several problems -> the headline of each.
PROBLEMS = {"acrobot": "return", "cartpole": "return", "mnist": "accuracy", "tiny_shakespeare": "loss"}


@pytest.fixture(scope="session")
def problems_folder(tmp_path_factory: pytest.TempPathFactory, write: Callable[..., str]) -> Path:
    """Return the folder of a study of 4 data sets of three headlines x 2 inits x 3 seeds with re-inits, to level 4."""
    study = tmp_path_factory.mktemp("multirun") / "problems"
    for dataset, headline in PROBLEMS.items():
        for init in ("xavier_u", "kaiming_n"):
            for seed in range(3):
                made = {"levels": 4, "epochs": 2, "arms": {TICKET: 1, REINIT: 1}, "headline": headline}
                write(study, dataset=dataset, init=init, seed=seed, **made)
    return study


@pytest.fixture(scope="session")
def problems(problems_folder: Path) -> Study:
    """Return `problems_folder` as tables."""
    return load(problems_folder)
