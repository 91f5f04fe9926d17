import dataclasses
import functools
import math

import pytest
import torch

from ltsweep.data import Examples, digits
from ltsweep.engine.problem import Score
from ltsweep.errors import NotHereError, UserError
from ltsweep.grid.cell import from_config
from ltsweep.init import draw, xavier_normal
from ltsweep.method import IMP
from ltsweep.run.build import (
    call,
    check_configs,
    check_outputs,
    data_key,
    lengths,
    load_data,
    make,
    member_of,
    program_of,
    prunable_layers,
    rates_of,
)


@pytest.fixture(scope="module")
def make_cell(compose):
    return functools.cache(lambda *overrides: from_config(compose("dataset=digits", *overrides)))


@pytest.fixture(scope="module")
def digits_data():
    return digits(None)


@pytest.mark.parametrize(
    ("group", "choices"),
    [
        ("model", ["lenet_300_100", "lenet5", "mlp", "conv2", "conv4", "conv6", "alexnet", "vgg19", "resnet20"]),
        ("optimizer", ["adam", "sgd"]),
        ("lr", ["constant", "warmup", "step", "cosine"]),
        ("prune_rate", ["uniform", "half_output", "by_type", "but_first", "but_last", "but_embeddings"]),
        ("method", ["imp", "one_shot", "snip", "grasp", "synflow", "random"]),
    ],
)
def test_every_choice_can_be_made(make_cell, group, choices):
    for choice in choices:
        cell = make_cell(f"{group}={choice}")
        assert cell.config[group]["name"] == choice
        check_configs([cell])


def test_the_objects_of_a_cell_are_what_its_config_says(make_cell):
    config = make_cell("optimizer=sgd", "lr=step", "prune_rate=by_type", "prune_rate.conv=0.05", "model=lenet5").config
    rates = rates_of(config, prunable_layers(config, make(config, "model")))
    assert list(rates.values()) == [0.05, 0.05, 0.2, 0.2, 0.2]
    optimizer = call(config, "optimizer", [{"params": [torch.zeros(1)], "lr": 0.3}])
    assert isinstance(optimizer, torch.optim.SGD)
    assert (optimizer.defaults["momentum"], optimizer.defaults["fused"]) == (0.9, True)
    assert call(config, "lr", 0, 100) == 1.2e-3
    assert call(config, "lr", 70, 100) == pytest.approx(1.2e-4)
    assert make(make_cell("method.scope=global").config, "method") == IMP(scope="global", controls=[])


def test_a_member_and_its_program_are_what_the_config_says(make_cell, digits_data):
    cell = make_cell("seed=3", "lr.value=0.5", "optimizer.weight_decay=0.01", "epochs=2", "levels=4")
    program = program_of(cell, digits_data, torch.device("cpu"), 30.0)
    # 1,437 - 200 = 1,237 examples in batches of 60 are 21 steps an epoch
    assert (program.steps, program.steps_per_epoch, program.evaluate_every) == (42, 21, None)
    assert (program.levels, program.validation, program.batch_size) == (4, 200, 60)
    assert program.checkpoint_every == 30.0
    member = member_of(cell, program)
    assert (member.key, member.seed, member.settings) == (cell.key, 3, {"weight_decay": 0.01})
    assert member.schedule(0, 42) == 0.5
    assert member.rates == {"fc1.weight": 0.2, "fc2.weight": 0.2, "output.weight": 0.1}
    expected = draw(program.model, xavier_normal, 3, "init")
    assert all(torch.equal(member.initial[name], value) for name, value in expected.items())
    assert member.recorded(1) is None
    masks = {"fc1.weight": torch.zeros(1)}
    resumed = member_of(cell, program, member.initial, {2: masks}.get)
    assert resumed.initial is member.initial
    assert (resumed.recorded(1), resumed.recorded(2)) == (None, masks)


@pytest.mark.parametrize(
    ("overrides", "examples", "steps"),
    [
        ((), 1237, (5 * 21, 21)),
        (("epochs=1", "batch_size=1237"), 1237, (1, 1)),
        (("epochs=3", "batch_size=1236"), 1237, (6, 2)),
        (("iterations=100",), 1237, (100, 21)),
        (("iterations=0",), 1237, (0, 21)),
        (("batch_size=60",), 55_000, (5 * 917, 917)),
    ],
)
def test_lengths(make_cell, overrides, examples, steps):
    config = make_cell(*overrides).config
    some = torch.zeros(examples + config["validation"])
    assert lengths(config, Examples(some, some, some, some)) == steps
    assert steps[1] == math.ceil(examples / config["batch_size"])


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (("model.activation=swish",), r"^model\.activation=swish .*relu, leaky_relu$"),
        (("init=kaiming_n", "init.fan_mode=both"), r"^init\.fan_mode=both .*fan_in, fan_out$"),
        (("init.gain=big",), r"^init\.gain=big .*leaky_relu"),
        (("method.scope=some",), r"^method\.scope=some .*layerwise, global, nodes, or .* _target_$"),
        (
            ("method.controls=[dense]",),
            r"^method\.controls=dense .*reinit, random_mask, .*frozen, twin, or .* _target_$",
        ),
        (("method.scope=global", "prune_rate=half_output"), r"^method\.scope=global .*prune_rate=uniform"),
        (("+model.width=3",), r"^model: .*width"),
        (("+init.width=3",), r"^init: .*width"),
        (("+lr.width=3",), r"^lr: .*width"),
        (("+prune_rate.width=3",), r"^prune_rate: .*width"),
        (("+optimizer.width=3",), r"^optimizer: .*width"),
        (("+method.width=3",), r"^method: .*width"),
        (("optimizer.betas=[1.5,0.9]",), r"^optimizer: .*beta"),
        (("optimizer.betas=none",), r"^optimizer: "),
        (("optimizer._target_=torch.optim.Adamant",), r"^optimizer: .*Adamant"),
        (("optimizer=sgd", "optimizer.nesterov=true", "optimizer.momentum=0"), r"^optimizer: .*[Nn]esterov"),
    ],
)
def test_a_config_that_makes_nothing_is_one_line(make_cell, overrides, text):
    with pytest.raises(UserError, match=text) as caught:
        check_configs([make_cell(), make_cell(*overrides)])
    assert "\n" not in str(caught.value)


def own_model(make_cell, *layers):
    """Return a cell whose model is a sequence of torch's own modules, given as configs."""
    cell, flat = make_cell(), {"_target_": "torch.nn.Flatten"}
    linear = {"_target_": "torch.nn.Linear", "in_features": 64, "out_features": 10}
    model = {"name": "own", "_target_": "torch.nn.Sequential", "_args_": [flat, *layers, linear]}
    return dataclasses.replace(cell, config={**cell.config, "model": model})


def test_torchs_dropout_is_replaced_and_other_draws_are_one_line(make_cell):
    dropout = own_model(make_cell, {"_target_": "torch.nn.Dropout", "p": 0.3})
    check_outputs([dropout])
    assert [str(module) for module in make(dropout.config, "model")][1] == "Dropout(p=0.3)"
    with pytest.raises(UserError, match=r"^model: 1 \(RReLU\) draws from torch's own generator") as refused:
        check_outputs([own_model(make_cell, {"_target_": "torch.nn.RReLU"})])
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match=r"^a dropout of 1.0 is out of range"):
        check_outputs([own_model(make_cell, {"_target_": "torch.nn.Dropout", "p": 1.0})])


def test_a_model_with_other_outputs_in_training_is_one_line(make_cell):
    cell = make_cell("dataset.input_shape=[3,64,64]")
    model = {"name": "own", "_target_": "torchvision.models.googlenet", "num_classes": 10, "init_weights": False}
    with pytest.raises(UserError, match=r"^model: in training .* a GoogLeNetOutputs .* the logits alone$"):
        check_outputs([dataclasses.replace(cell, config={**cell.config, "model": model})])
    plain = {**model, "aux_logits": False}
    check_outputs([dataclasses.replace(cell, config={**cell.config, "model": plain})])


def test_labels_are_smoothed_where_there_are_any(make_cell, digits_data, tmp_path):
    cell = make_cell("label_smoothing=0.1")
    assert program_of(cell, digits_data, torch.device("cpu"), 0.0).problem.label_smoothing == 0.1
    assert digits_data.label_smoothing == 0
    assert program_of(make_cell("clip=2"), digits_data, torch.device("cpu"), 0.0).clip == 2


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (("validation=1437",), r"^validation=1437 leaves nothing to train on: digits has 1437 examples$"),
        (("batch_size=1238",), r"^batch_size=1238 is more than the 1237 training examples of digits$"),
        (("evaluate_every=106",), r"^evaluate_every=106 is more than the 105 iterations of a level$"),
        (("iterations=10", "evaluate_every=11"), r"^evaluate_every=11 is more than the 10 iterations"),
        (("lr=warmup", "iterations=10", "lr.warmup=11"), r"^lr\.warmup=11 is more than the 10 iterations"),
        (("dataset.input_shape=[1,28,28]",), r"^dataset=digits: input_shape is \[1, 28, 28\]"),
        (("dataset.num_classes=9",), r"^dataset=digits: train labels run to 9, num_classes is 9$"),
        (("+dataset.width=3",), r"^dataset: .*width"),
        (("evaluate_train=1238",), r"^evaluate_train=1238 is more than the 1237 training examples of digits; true "),
        (("evaluate_test=361",), r"^evaluate_test=361 is more than the 360 test examples of digits; null scores all$"),
    ],
)
def test_a_config_that_does_not_fit_its_data_is_one_line(make_cell, overrides, text, tmp_path):
    with pytest.raises(UserError, match=text) as caught:
        load_data([make_cell(), make_cell(*overrides)], tmp_path)
    assert "\n" not in str(caught.value)


def test_the_largest_values_that_fit_are_taken(make_cell, tmp_path):
    load_data([make_cell("validation=1436", "batch_size=1"), make_cell("batch_size=1237")], tmp_path)
    load_data([make_cell("evaluate_train=1237"), make_cell("evaluate_train=false")], tmp_path)
    load_data([make_cell("evaluate_every=105"), make_cell("lr=warmup", "iterations=10", "lr.warmup=10")], tmp_path)


@pytest.mark.parametrize(
    ("scores", "headline"),
    [
        ([("accuracy", ("train", "val", "test"))], 0),
        ([("loss", ("train",)), ("Top1", ("train", "val", "test"))], 1),
        ([("loss", ("train",)), ("top1", ("val", "test"))], 1),
        ([("loss", ("train",)), ("top1", ("train", "val", "test"))], 0),
    ],
)
def test_scores_of_which_no_table_can_be_made_are_one_line(make_cell, tmp_path, monkeypatch, scores, headline):
    class Other(Examples):
        pass

    Other.scores = tuple(Score(name, "higher", splits) for name, splits in scores)
    Other.headline = Other.scores[headline]
    data = digits(None)
    other = Other(data.train_x, data.train_y, data.test_x, data.test_y)
    monkeypatch.setattr("ltsweep.data.digits", lambda folder, **fields: other)
    with pytest.raises(UserError, match=r"^dataset=digits: it measures .* all splits have the same scores"):
        load_data([make_cell()], tmp_path)


def test_a_data_set_is_loaded_once_for_all_its_cells(make_cell, tmp_path, monkeypatch):
    loads = []
    monkeypatch.setattr("ltsweep.data.digits", lambda folder, **fields: (loads.append(folder), digits(folder))[1])
    cells = [make_cell(), make_cell("seed=1"), make_cell("dataset.validation=100")]
    data = load_data(cells, tmp_path)
    assert loads == [tmp_path] * 2
    assert len(data) == 2


def test_a_data_set_that_would_have_to_be_downloaded_is_looked_for_once(make_cell, tmp_path, monkeypatch):
    asked = []

    def absent(folder, download=True, **fields):
        asked.append(download)
        raise NotHereError("digits is not here")

    monkeypatch.setattr("ltsweep.data.digits", absent)
    assert load_data([make_cell(), make_cell("seed=1"), make_cell("seed=2")], tmp_path, download=False) == {}
    assert asked == [False]


def test_data_sets_that_differ_in_augmentation_alone_are_loaded_once(make_cell, tmp_path, monkeypatch):
    loads = []
    monkeypatch.setattr(
        "ltsweep.data.digits", lambda folder, **fields: (loads.append(fields), digits(folder, **fields))[1]
    )
    augments = ([], ["flip"], ["crop", "flip"])
    cells = [make_cell(f"dataset.augment=[{','.join(augment)}]") for augment in augments]
    data = load_data(cells, tmp_path)
    assert len(loads) == 1
    assert [data[data_key(cell)].augment for cell in cells] == list(augments)
    assert len({data[data_key(cell)].train_x.data_ptr() for cell in cells}) == 1
    monkeypatch.setattr("ltsweep.data.digits", lambda folder, augment: (loads.append(augment), digits(folder))[1])
    load_data(cells, tmp_path)  # of a function that takes the field for something else, each of them
    assert len(loads) == 1 + len(augments)
