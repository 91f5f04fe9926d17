"""Hydra's callbacks under the local launcher: told of every cell, in order, with the job's own config."""

import json
import sys
import textwrap

import pytest

# Writes a line for each call: in which cell, and with what. The folder is the study's, for the order of things.
MODULE = """
import json
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback


def broken(shape, rng):
    if shape[0] == 300:
        raise ArithmeticError("no luck")
    return torch.zeros(*shape)


class Diary(Callback):
    def __init__(self, path):
        self.path = Path(path)

    def write(self, what, config, **fields):
        hydra = config.hydra
        key = Path(hydra.runtime.output_dir).name
        status = Path(hydra.runtime.output_dir) / "status.json"
        fields |= {
            "what": what, "num": hydra.job.num, "id": hydra.job.id, "key": key, "seed": config.seed,
            "overrides": list(hydra.overrides.task), "absolute": Path(hydra.runtime.output_dir).is_absolute(),
            "current": HydraConfig.get().job.num,
            "status": json.loads(status.read_text())["status"] if status.exists() else None,
        }
        with self.path.open("a") as file:
            file.write(json.dumps(fields) + "\\n")

    def on_job_start(self, config, *, task_function, **kwargs):
        self.write("start", config, task=task_function.__name__)

    def on_job_end(self, config, job_return, **kwargs):
        value = job_return._return_value
        self.write(
            "end", config, end=job_return.status.name, value=value if isinstance(value, float) else str(value),
            returned=list(job_return.overrides), task=job_return.task_name,
            own="hydra" not in job_return.cfg and job_return.cfg.seed == config.seed,
            whole=job_return.hydra_cfg.hydra.job.num,
        )
"""


@pytest.fixture
def diary(command, monkeypatch):
    """The command with a callback in a module beside it; `diary()` reads what it wrote."""
    (command.folder / "my_callback.py").write_text(textwrap.dedent(MODULE))
    (command.folder / "own/init").mkdir(parents=True)
    (command.folder / "own/init/broken.yaml").write_text(
        "name: broken\n_target_: my_callback.broken\n_partial_: true\n"
    )
    monkeypatch.syspath_prepend(command.folder)
    path = command.folder / "diary.jsonl"
    command.callback = f"+hydra.callbacks.diary={{_target_: my_callback.Diary, path: {path}}}"
    command.diary = lambda: [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    yield command
    sys.modules.pop("my_callback", None)


def test_every_cell_starts_and_ends_in_order(diary, small):
    arguments = ("-m", "seed=3,1,2", *small, "levels=1", "iterations=2")
    diary.inside(*arguments, diary.callback)
    lines = diary.diary()
    assert [(line["what"], line["num"]) for line in lines] == [(w, n) for w in ("start", "end") for n in range(3)]
    assert [line["seed"] for line in lines] == [3, 1, 2] * 2
    assert all(line["id"] == str(line["num"]) and line["num"] == line["current"] and line["absolute"] for line in lines)
    starts, ends = lines[:3], lines[3:]
    for line, folder in ((line, diary.study().cell(seed=line["seed"])) for line in lines):
        assert line["key"] == folder.path.name
        assert f"seed={line['seed']}" in line["overrides"]
    for line in starts:
        assert line["status"] is None  # nothing was trained yet
    for line in ends:
        levels = diary.study().cell(seed=line["seed"]).levels
        assert line["end"] == "COMPLETED"
        assert line["status"] == "done"
        assert line["value"] == levels[levels["level"] == 1]["best_val_accuracy"].item()
        assert f"seed={line['seed']}" in line["returned"]
        assert line["own"]
        assert line["whole"] == line["num"]


def test_callbacks_are_told_what_hydras_basic_launcher_tells_them(diary, small):
    arguments = ("-m", "seed=3,1", *small, "levels=0", "iterations=2", diary.callback)
    diary.inside(*arguments)
    ours = diary.diary()
    diary.inside(*arguments, "hydra/launcher=basic")
    basic = diary.diary()[len(ours) :]

    def told(lines):
        facts = [{name: fact for name, fact in line.items() if name != "status"} for line in lines]
        return sorted(facts, key=lambda fact: (fact["what"], fact["num"]))

    assert told(ours) == told(basic)


def test_a_failed_cell_ends_with_its_error_before_the_exit(diary, small):
    ended = diary.inside(
        "--config-dir=own", "-m", "init=broken,xavier_u", *small, "levels=0", "iterations=1", diary.callback, code=1
    )
    assert "1 failed" in ended.out
    assert "Traceback" not in ended.err
    ends = [line for line in diary.diary() if line["what"] == "end"]
    assert [line["end"] for line in ends] == ["FAILED", "COMPLETED"]
    assert ends[0]["key"] in ends[0]["value"]
    assert "cell.log" in ends[0]["value"]


def test_a_study_that_is_refused_starts_no_job(diary, small):
    diary.inside("-m", "batch_size=60,5000", *small, "levels=0", diary.callback, code=2)
    assert diary.diary() == []


def test_a_study_that_is_stopped_ends_every_job(diary, small):
    """Its folder is a file, which shows once the study is to be held."""
    (diary.folder / "multirun").mkdir()
    (diary.folder / "multirun/default").write_text("in the way")
    diary.inside("-m", "seed=0,1", *small, "levels=0", diary.callback, code=2)
    lines = diary.diary()
    assert [line["what"] for line in lines] == ["start", "start", "end", "end"]
    assert all("is a file" in line["value"] for line in lines[2:])


def test_nothing_is_composed_for_nobody(command, small, monkeypatch):
    """Composing a cell whole takes tens of milliseconds, so it is done for callbacks alone."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    calls, original = [], ConfigLoaderImpl.load_sweep_config
    monkeypatch.setattr(
        ConfigLoaderImpl, "load_sweep_config", lambda *arguments: calls.append(1) or original(*arguments)
    )
    command.inside("-m", "seed=0,1,2", *small, "levels=0", "iterations=1")
    assert len(calls) == 1
