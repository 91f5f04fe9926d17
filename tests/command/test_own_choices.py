"""An own choice in every group, from outside the package: a function, a class, and a target of torch or torchvision."""

import importlib
import json
import sys
import textwrap

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

MODULE = textwrap.dedent(
    """
    import functools

    import torch
    from torch import nn

    from ltsweep.data import Dataset, digits
    from ltsweep.method import IMP


    # init
    def constant_init(shape, rng, value):
        return torch.full(tuple(shape), value) + 0.01 * torch.randn(*shape, generator=rng)


    class ConstantInit:
        def __init__(self, value):
            self.value = value

        def __call__(self, shape, rng):
            return constant_init(shape, rng, self.value)


    # model
    def narrow(input_shape, num_classes, width):
        return Narrow(input_shape, num_classes, width)


    class Narrow(nn.Sequential):
        def __init__(self, input_shape, num_classes, width):
            inputs = input_shape[0] * input_shape[1] * input_shape[2]
            super().__init__(nn.Flatten(), nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, num_classes))


    # dataset
    def turned(data_dir, by):
        return digits(data_dir).map(lambda t: t if t.dim() == 1 else t.roll(by, -1))


    class Turned:
        def __init__(self, by):
            self.by = by

        def __call__(self, data_dir):
            return turned(data_dir, self.by)


    # optimizer
    def plain_sgd(groups, **fields):
        return torch.optim.SGD(groups, **fields)


    class PlainSGD(torch.optim.SGD):
        pass


    # lr: a function, and a class whose rate shows in no keyword
    def halving(step, steps, start):
        return start * 0.5 ** (step / steps)


    class Halving:
        def __init__(self, start):
            self.start = start

        def __call__(self, step, steps):
            return halving(step, steps, self.start)


    def closure(start):
        return lambda step, steps: halving(step, steps, start)


    # prune_rate
    def first_only(layers, share):
        return {layer.name: share if number == 0 else 0.0 for number, layer in enumerate(layers)}


    class FirstOnly:
        def __init__(self, share):
            self.share = share

        def __call__(self, layers):
            return first_only(layers, self.share)


    # method
    def imp(**fields):
        return IMP(**fields)


    class OwnIMP(IMP):
        pass


    # stop
    def good(scores, c, share):
        return scores["test_accuracy"][c] >= share


    class Good:
        def __init__(self, share):
            self.share = share

        def __call__(self, scores, c):
            return good(scores, c, self.share)


    # axes of a method, and a measurement
    def largest(look):
        return {name: -look.state.params[name].abs() for name in look.state.masks}


    def negated(past, arm):
        return {name: -value if value.dim() > 1 else value for name, value in past.initial.items()}, past.masks


    def flat(look):
        return {name: value.abs().flatten() for name, value in look.state.params.items()}


    def weights_alone(past, arm):
        return past.initial


    def dense(past, arm):
        return past.initial, {name: torch.ones_like(mask) for name, mask in past.masks.items()}


    def per_neuron(look):
        from ltsweep.measure.reading import Reading

        yield Reading("norm", "fc1.weight", None, torch.zeros(300))


    def biggest(look):
        from ltsweep.measure.reading import Reading

        for name in look.state.masks:
            yield Reading("biggest", name, None, look.state.params[name].abs().flatten(1).amax(1))
    """
)
IMP = {"scope": "layerwise", "score": "magnitude", "rewind": "init", "controls": [], "draws": 1}
SHAPE = {"input_shape": [1, 8, 8], "num_classes": 10}
SEQUENTIAL = [
    {"_target_": "torch.nn.Flatten"},
    {"_target_": "torch.nn.Linear", "in_features": 64, "out_features": 12},
    {"_target_": "torch.nn.Linear", "in_features": 12, "out_features": 10},
]
MLP = {"_target_": "torchvision.ops.MLP", "in_channels": 64, "hidden_channels": [12, 10]}

# (group, kind) -> the fields of the YAML. torch has no function with the signature of an initialization, a schedule, a
# pruning rate, a data set in memory or a method, so these groups have no target of its own.
CHOICES = {
    ("init", "function"): {"_target_": "own_choices.constant_init", "_partial_": True, "value": 0.1},
    ("init", "class"): {"_target_": "own_choices.ConstantInit", "value": 0.1},
    ("model", "function"): {"_target_": "own_choices.narrow", **SHAPE, "width": 12},
    ("model", "class"): {"_target_": "own_choices.Narrow", **SHAPE, "width": 12},
    ("model", "torch"): {"_target_": "torch.nn.Sequential", "_args_": SEQUENTIAL},
    ("model", "torchvision"): {"_target_": "torch.nn.Sequential", "_args_": [SEQUENTIAL[0], MLP]},
    ("dataset", "function"): {"_target_": "own_choices.turned", "_partial_": True, **SHAPE, "validation": 100, "by": 1},
    ("dataset", "class"): {"_target_": "own_choices.Turned", **SHAPE, "validation": 100, "by": 1},
    ("optimizer", "function"): {"_target_": "own_choices.plain_sgd", "_partial_": True, "momentum": 0.5},
    ("optimizer", "class"): {"_target_": "own_choices.PlainSGD", "_partial_": True, "momentum": 0.5},
    ("optimizer", "torch"): {"_target_": "torch.optim.RMSprop", "_partial_": True, "alpha": 0.9},
    ("lr", "function"): {"_target_": "own_choices.halving", "_partial_": True, "start": 0.01},
    ("lr", "class"): {"_target_": "own_choices.Halving", "start": 0.01},
    ("lr", "closure"): {"_target_": "own_choices.closure", "start": 0.01},
    ("prune_rate", "function"): {"_target_": "own_choices.first_only", "_partial_": True, "share": 0.25},
    ("prune_rate", "class"): {"_target_": "own_choices.FirstOnly", "share": 0.25},
    ("stop", "function"): {"_target_": "own_choices.good", "_partial_": True, "share": 0.9},
    ("stop", "class"): {"_target_": "own_choices.Good", "share": 0.9},
    ("method", "function"): {"_target_": "own_choices.imp", **IMP},
    ("method", "class"): {"_target_": "own_choices.OwnIMP", **IMP},
    ("method", "axes"): {
        "_target_": "ltsweep.method.IMP",
        **IMP,
        "score": {"_target_": "own_choices.largest", "_partial_": True},
        "controls": ["reinit", {"_target_": "own_choices.negated", "_partial_": True}],
    },
}


@pytest.fixture
def own(command, monkeypatch):
    """The command beside a module of one's own, with a YAML of every choice in the folder `own`."""
    (command.folder / "own_choices.py").write_text(MODULE)
    for (group, kind), fields in CHOICES.items():
        folder = command.folder / "own" / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"own_{kind}.yaml").write_text(yaml.safe_dump({"name": f"own_{kind}", **fields}, sort_keys=False))
    (command.folder / "own/measure").mkdir()
    (command.folder / "own/measure/biggest.yaml").write_text(
        yaml.safe_dump({"biggest": {"_target_": "own_choices.biggest", "_partial_": True}})
    )
    monkeypatch.syspath_prepend(command.folder)
    yield command
    sys.modules.pop("own_choices", None)


def test_every_group_is_tried():
    from ltsweep.grid.check import GROUPS

    assert {group for group, _ in CHOICES} == set(GROUPS)
    for group in GROUPS:
        assert {"function", "class"} <= {kind for name, kind in CHOICES if name == group}


@pytest.mark.parametrize(("group", "kind"), CHOICES, ids=lambda value: value)
def test_an_own_choice_trains_prunes_and_goes_on(own, small, group, kind):
    quick = ("levels=1", "iterations=6", "seed=0,1", f"{group}=own_{kind}")
    small = [text for text in small if not text.startswith(f"{group}=")]
    ended = own.inside("--config-dir=own", "-m", *small, *quick)
    assert "2 done" in ended.out
    assert "2 already finished" in own.inside("--config-dir=own", "-m", *small, *quick).out
    for folder in own.study().cells().values():
        assert folder.config[group]["name"] == f"own_{kind}"
        levels = folder.levels[folder.levels["arm"] == "ticket"]
        assert levels["weights_remaining"].iloc[1] < levels["weights_remaining"].iloc[0]
        assert np.isfinite(folder.evaluations["train_loss"]).all()


@pytest.mark.parametrize("kind", ["function", "class", "closure"])
def test_cells_of_an_own_schedule_train_at_their_own_rates(own, small, kind):
    """One field of the schedule, whatever its name, makes three groups; the record says what the optimizer used."""
    rates = (0.1, 0.01, 0.001)
    axis = f"lr.start={','.join(map(str, rates))}"
    quick = ("levels=0", "iterations=8", "evaluate_every=4", f"lr=own_{kind}", "optimizer=sgd", "stack_size=3")
    own.inside("--config-dir=own", "-m", *small, axis, *quick)
    losses = {}
    for folder in own.study().cells().values():
        start = folder.config["lr"]["start"]
        rows = folder.evaluations
        assert list(rows["lr"][rows["iteration"] > 0]) == [pytest.approx(start * 0.5 ** (step / 8)) for step in (3, 7)]
        losses[start] = rows["train_loss"].iloc[-1]
    assert losses[0.1] < losses[0.01] < losses[0.001]  # each learned as its rate lets it


def test_a_score_and_a_control_of_ones_own(own, small):
    own.inside("--config-dir=own", *small, "levels=1", "iterations=6", "method=own_axes", "measure=[biggest]")
    (folder,) = own.study().cells().values()
    assert set(folder.levels["arm"]) == {"ticket", "reinit", "negated"}
    # The largest went: what is left of the initial weights is smaller than what was removed, about.
    readings = pq.read_table(folder.path / "readings.parquet").to_pandas()
    tickets = readings[(readings["arm"] == "ticket") & (readings["place"] == "fc1.weight")]
    assert list(tickets["name"]) == ["biggest"] * 2
    mask, initial = folder.mask(1)["fc1.weight"], np.abs(folder.initial["fc1.weight"])
    assert np.median(initial[~mask]) > np.median(initial[mask])
    assert json.loads((folder.path / "status.json").read_text())["measured"] == ["biggest"]


def test_a_model_of_three_channels_is_refused_with_the_setting_that_mends_it(own, small):
    """A torchvision model, its YAML alone."""
    (own.folder / "own/model/resnet.yaml").write_text(
        "name: resnet\n_target_: torchvision.models.resnet18\nnum_classes: ${dataset.num_classes}\n"
    )
    quick = ("--config-dir=own", "model=resnet", *small, "levels=0", "iterations=1", "batch_size=8", "validation=8")
    quick = (*quick, "evaluate_train=false", "evaluate_test=8")
    refused = own.inside(*quick, code=2)
    mend = "dataset.input_shape=[3,8,8]"
    assert refused.err == f"ltsweep: model=resnet takes 3 channels, and dataset=digits has 1; {mend} repeats it\n"
    assert not (own.folder / "multirun").exists()
    own.inside(*quick, mend)
    assert set(own.study().statuses().values()) == {"done"}
    two = own.inside(*quick, "dataset.input_shape=[2,8,8]", code=2)
    assert "takes 3 channels, and dataset=digits has 2; it needs examples of shape [3,8,8]" in two.err


def test_a_models_yaml_says_what_is_pruned_and_which_layer_is_the_output(own, small):
    fields = CHOICES["model", "class"] | {"name": "chosen", "prunable": ["1.weight"], "output": "3.weight"}
    (own.folder / "own/model/chosen.yaml").write_text(yaml.safe_dump(fields, sort_keys=False))
    own.inside("--config-dir=own", *small, "levels=1", "iterations=2", "model=chosen")
    (folder,) = own.study().cells().values()
    assert [list(names) for names in folder.levels["layers"]] == [["1.weight"]] * 2
    assert list(folder.levels["weights_remaining"]) == [64 * 12, 64 * 12 - round(0.2 * 64 * 12)]
    (own.folder / "own/model/wrong.yaml").write_text(yaml.safe_dump(fields | {"name": "wrong", "output": "4.weight"}))
    ended = own.inside("--config-dir=own", *small, "levels=1", "model=wrong", "study=wrong", code=2)
    assert "4.weight fits no parameter of the model" in ended.err
    assert not (own.folder / "multirun/wrong").exists()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"score": "flat"}, "method.score=flat gives fc1.weight the shape (19200,)"),
        ({"controls": ["weights_alone"]}, "control weights_alone returns dict; it is to return (weights, masks)"),
        ({"controls": ["dense"]}, "control dense keeps 19200 weights of fc1.weight, and the ticket 15360"),
    ],
    ids=["score", "control", "counts"],
)
def test_an_axis_that_returns_the_wrong_thing_is_named(own, small, fields, says):
    def target(name):
        return {"_target_": f"own_choices.{name}", "_partial_": True}

    given = {k: [target(n) for n in v] if isinstance(v, list) else target(v) for k, v in fields.items()}
    (own.folder / "own/method/wrong.yaml").write_text(
        yaml.safe_dump({"name": "wrong", "_target_": "ltsweep.method.IMP", **IMP, **given})
    )
    own.inside("--config-dir=own", *small, "levels=1", "iterations=2", "method=wrong", code=1)
    (folder,) = own.study().cells().values()
    assert says in folder.status["error"]


def test_a_measurement_of_another_length_is_named(own, small):
    (own.folder / "own/measure/per_neuron.yaml").write_text(
        yaml.safe_dump({"per_neuron": {"_target_": "own_choices.per_neuron", "_partial_": True}})
    )
    own.inside("--config-dir=own", *small, "levels=0", "iterations=2", "measure=[per_neuron]", code=1)
    (folder,) = own.study().cells().values()
    assert "measure=per_neuron reads [300] numbers, and there are 1 networks" in folder.status["error"]
    (own.folder / "own/measure/nameless.yaml").write_text("_target_: own_choices.biggest\n_partial_: true\n")
    ended = own.inside("--config-dir=own", *small, "levels=0", "measure=[nameless]", "study=n", code=2)
    assert "a YAML of this group is {NAME: {_target_: ...}}" in ended.err


def test_force_with_a_model_that_no_longer_fits_loses_nothing(own, small):
    arguments = ("--config-dir=own", *small, "levels=1", "iterations=2", "model=own_class")
    own.inside(*arguments)
    before = own.study().snapshot()
    code = (own.folder / "own_choices.py").read_text()
    for broken, says in (
        (code.replace("nn.Linear(inputs, width)", "nn.Linear(inputs + 1, width)"), "model"),
        (code.replace("nn.Linear(width, num_classes)", "nn.Linear(width, 7)"), "there are 10 classes"),
    ):
        (own.folder / "own_choices.py").write_text(broken)
        del sys.modules["own_choices"]
        importlib.invalidate_caches()
        ended = own.inside(*arguments, "force=true", code=2)
        assert says in ended.err
        assert ended.err.count("\n") == 1
        assert own.study().snapshot() == before


def test_a_field_may_refer_to_a_setting(own, small, tmp_path):
    """It is resolved before the settings are left out of the config."""
    fields = CHOICES["dataset", "function"] | {"name": "placed", "folder": "${data_dir}/sub"}
    (own.folder / "own_choices.py").write_text(
        MODULE.replace("def turned(data_dir, by)", "def turned(data_dir, by, folder='')")
    )
    (own.folder / "own/dataset/placed.yaml").write_text(yaml.safe_dump(fields))
    small = [text for text in small if not text.startswith("dataset=")]
    own.inside("--config-dir=own", *small, "dataset=placed", "levels=0", "iterations=1", "data_dir=/somewhere")
    (folder,) = own.study().cells().values()
    assert folder.config["dataset"]["folder"] == "/somewhere/sub"
