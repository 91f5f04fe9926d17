"""The initial weights again from the seed: agreement to the bit, and nothing of a stranger's is run."""

import sys

import pytest
import torch
from torch import nn

from ltsweep.errors import UserError
from ltsweep.export.opened import open_ticket
from ltsweep.export.rebuild import model_of, redrawn, unlike


def rebuilt(folder, allowed=()):
    ticket = open_ticket(f"{folder}@1")
    model = model_of(ticket, allowed)
    return unlike(redrawn(ticket, model, allowed), ticket)


def test_the_seed_draws_them_again(folder):
    assert rebuilt(folder) == []


def test_a_single_bit_is_told(record_cell, config, folder):
    ticket = open_ticket(f"{folder}@1")
    drawn = redrawn(ticket, model_of(ticket))
    drawn["output.bias"][3] = -0.0  # equal as a number, not as bits
    assert rebuilt(record_cell({**config, "seed": config["seed"]}, initial=drawn)) == ["output.bias"]
    assert rebuilt(record_cell({**config, "seed": 7}, initial=drawn)) != []


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Return a config group that names a module of the user's own, which notes that it is imported."""
    (tmp_path / "stranger_of_ticket.py").write_text(
        "import pathlib\nfrom ltsweep.models import lenet_300_100\nfrom ltsweep.init import xavier_normal\n"
        f"pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n"
        "def model(input_shape, num_classes):\n    return lenet_300_100(input_shape, num_classes)\n"
        "def init(shape, rng):\n    return xavier_normal(shape, rng)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield {"model": "stranger_of_ticket.model", "init": "stranger_of_ticket.init"}
    sys.modules.pop("stranger_of_ticket", None)


@pytest.mark.parametrize("group", ["model", "init"])
def test_code_of_others_runs_only_if_it_is_allowed(record_cell, config, folder, own, group, tmp_path):
    drawn = redrawn(open_ticket(f"{folder}@1"), model_of(open_ticket(f"{folder}@1")))
    fields = {"name": "own", "_target_": own[group]}
    fields |= {"input_shape": [1, 8, 8], "num_classes": 10} if group == "model" else {"_partial_": True}
    other = record_cell({**config, group: fields}, initial=drawn)
    with pytest.raises(UserError, match=r"if you trust the module .*: --allow stranger_of_ticket"):
        rebuilt(other)
    assert not (tmp_path / "ran").exists()
    assert rebuilt(other, ["stranger_of_ticket"]) == []
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "target", ["os.system", "torch.hub.load", "ltsweep.run.build.make", "torch.nn.modules.os.system"]
)
def test_targets_that_run_anything_are_refused(record_cell, config, folder, target):
    drawn = {name: torch.from_numpy(value) for name, value in open_ticket(f"{folder}@1").initial.items()}
    model = {"name": "x", "_target_": target, "command": "touch hacked"}
    with pytest.raises(UserError, match=r"model\._target_"):
        rebuilt(record_cell({**config, "model": model}, initial=drawn))


def test_a_model_of_other_shapes_is_never_built(record_cell, config, folder):
    """Not even where it is larger than any memory."""
    drawn = {name: torch.from_numpy(value) for name, value in open_ticket(f"{folder}@1").initial.items()}
    huge = {"name": "x", "_target_": "torch.nn.Linear", "in_features": 10**7, "out_features": 10**7}
    with pytest.raises(UserError, match="the config's model has another weight than the recorded weights"):
        rebuilt(record_cell({**config, "model": huge}, initial=drawn))


def test_a_model_that_takes_no_example_is_a_line(record_cell, config):
    config = {**config, "model": {"name": "x", "_target_": "torch.nn.Linear", "in_features": 5, "out_features": 10}}
    with pytest.raises(UserError, match="takes no example of its data set: "):
        rebuilt(record_cell(config, model=nn.Linear(5, 10)))


def test_examples_too_large_to_try_are_not_tried(record_cell, config):
    shape = {**config["dataset"], "input_shape": [1, 10**6, 10**6]}
    model = {"name": "x", "_target_": "torch.nn.Linear", "in_features": 5, "out_features": 10}
    with pytest.raises(UserError, match="examples of 1,000,000,000,000 numbers are too large to try"):
        rebuilt(record_cell({**config, "model": model, "dataset": shape}, model=nn.Linear(5, 10)))


@pytest.mark.parametrize("target", ["torch.nn.Linear", "torch.nn.ReLU", "ltsweep.init.draw", "torch.nn.init.ones_"])
def test_an_init_that_draws_nothing_is_a_line(record_cell, config, folder, target):
    drawn = {name: torch.from_numpy(value) for name, value in open_ticket(f"{folder}@1").initial.items()}
    init = {"name": "x", "_target_": target, "_partial_": True}
    with pytest.raises(UserError, match="the config's init draws no ") as refused:
        rebuilt(record_cell({**config, "init": init}, initial=drawn))
    assert "\n" not in str(refused.value)
