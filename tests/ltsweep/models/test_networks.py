"""Every shipped model: it trains in a stack as alone, replayed and resumed with the same bits, masked weights zero."""

import copy
import functools
from pathlib import Path

import ltsweep.conf
import pytest
import torch
from torch.nn.functional import cross_entropy

from ltsweep.data import Examples
from ltsweep.data.text import windows
from ltsweep.engine import train as train_module
from ltsweep.engine.noise import streams
from ltsweep.engine.problem import Draws
from ltsweep.engine.stack import Network
from ltsweep.engine.train import Group, snapshot, train
from ltsweep.engine.trained import MaskedWeights
from ltsweep.grid.cell import from_config
from ltsweep.init import draw, kaiming_normal
from ltsweep.optim import cosine
from ltsweep.prune import layers_of
from ltsweep.run.build import check_configs, check_outputs, make

CPU = torch.device("cpu")
# Those of our own code: test_torchvision.py has the others, which are too large for a stack of three.
NAMES = sorted(
    path.stem
    for path in Path(next(iter(ltsweep.conf.__path__)), "model").glob("*.yaml")
    if "\n_target_: ltsweep." in path.read_text()
)
SHAPE, CLASSES, STEPS, BATCH, SEEDS = (1, 8, 8), 3, 6, 6, (4, 5, 6)
SGD = functools.partial(torch.optim.SGD, momentum=0.9, weight_decay=1e-3)  # Adam blows up what rounding leaves


# The models of texts, which see windows of 7 tokens in place of pictures.
TEXT = {
    "lstm": ["model.embedding=4", "model.hidden=5"],
    "transformer": ["model.width=8", "model.heads=2", "model.layers=2"],
}
TOKENS = 7


@pytest.fixture(scope="module")
def cell(compose):
    """Return a function from a model's name to a cell of it on 8x8 examples, narrow and with dropout if it has them."""

    @functools.cache
    def of(name):
        fields = compose(f"model={name}").model
        narrow = TEXT.get(name) or (["model.width=0.07"] if "width" in fields else [])
        drops = ["model.dropout=0.3"] if "dropout" in fields else []
        data = ["dataset=tiny_shakespeare", f"dataset.context={TOKENS}"] if name in TEXT else ["dataset=digits"]
        return from_config(compose(f"model={name}", *narrow, *drops, *data, f"dataset.num_classes={CLASSES}"))

    return of


@pytest.fixture
def examples(make_data, name):
    """Return examples for the model: examples, or windows of a text."""
    if name not in TEXT:
        return make_data(shape=SHAPE, train=STEPS * BATCH, classes=CLASSES)
    tokens = torch.randint(CLASSES, (TOKENS * (STEPS * BATCH + 23) + 1,), generator=torch.Generator().manual_seed(0))
    x, y = windows(tokens, TOKENS)
    train = STEPS * BATCH
    return Examples(x[:train], y[:train], x[train:], y[train:])


def stack(model, dtype=torch.float32):
    """Return a network, and a state of three cells with two thirds of their weights, as a level of the loop has it."""
    starts, masks = [], []
    for seed in SEEDS:
        rng = torch.Generator().manual_seed(seed)
        drawn = draw(model, kaiming_normal, seed, "init")
        starts.append({n: v.to(dtype) if v.is_floating_point() else v for n, v in drawn.items()})
        masks.append({one.name: (torch.rand(one.shape, generator=rng) < 0.67).to(dtype) for one in layers_of(model)})
    network = Network(model)
    state = network.stack(starts, masks, CPU)
    state.buffers.update(streams(model, [Draws(seed, 1, 0, 1) for seed in SEEDS], CPU))
    return network, state


def batches(data):
    draws = [Draws(seed, 1, 0, 1) for seed in SEEDS]
    stream = data.batches(draws, BATCH)
    return [next(stream) for _ in range(STEPS)]


def schedule(c):
    return functools.partial(cosine, value=(0.02, 0.04, 0.03)[c])


def go(network, state, data, order, start=0, saved=None, fused=True):
    """Yield the steps done and the optimizer, masked weights checked after each step."""
    groups = [Group(slice(c, c + 1), schedule(c), {}) for c in range(len(SEEDS))]
    make = functools.partial(SGD, fused=fused)
    trained = MaskedWeights(network)
    for done, optimizer in train(network, trained, state, data, iter(order[start:]), make, groups, STEPS, start, saved):
        assert all(not state.params[name][mask == 0].any() for name, mask in state.masks.items())
        yield done, optimizer


def everything(state):
    return {**state.params, **state.buffers}


def changed(model, before, after):
    """Fail unless every trained tensor changed, and every buffer: statistics, counts and streams."""
    for name, value in after.items():
        assert not torch.equal(value, before[name]), name


@pytest.mark.parametrize("name", NAMES)
def test_a_model_can_be_chosen(cell, name):
    check_configs([cell(name)])
    check_outputs([cell(name)])


@pytest.mark.parametrize("name", NAMES)
def test_a_stack_of_three_trains_as_each_alone(cell, examples, name):
    """Alone: a plain module, optimizer and loop, whose dropout begins with the same stream."""
    model = make(cell(name).config, "model")
    network, state = stack(model, torch.float64)
    data = examples.map(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)
    order, before = batches(data), copy.deepcopy(everything(state))
    for done, _ in go(network, state, data, order):
        if done == 3:
            break
    for c in range(len(SEEDS)):
        alone = copy.deepcopy(model).double().train()
        own = dict(alone.named_parameters()) | dict(alone.named_buffers())
        with torch.no_grad():
            for place, value in own.items():
                value.copy_(before[place][c])
        optimizer = SGD(alone.parameters(), lr=0.0, fused=False, foreach=False)
        for step, (index,) in enumerate(order[:3]):
            optimizer.param_groups[0]["lr"] = schedule(c)(step, STEPS)
            optimizer.zero_grad()
            logits = alone(data.train_x[index[c]]).flatten(0, -2)
            cross_entropy(logits, data.train_y[index[c]].flatten()).backward()
            optimizer.step()
            with torch.no_grad():
                for place, mask in state.masks.items():
                    own[place].mul_(mask[c])
        for place, value in own.items():
            torch.testing.assert_close(everything(state)[place][c], value, rtol=1e-6, atol=1e-8, msg=place)
    changed(model, before, everything(state))


@pytest.mark.parametrize("name", NAMES)
def test_replayed_and_resumed_steps_give_the_same_bits(cell, examples, monkeypatch, name):
    model, order = make(cell(name).config, "model"), batches(examples)
    network, state = stack(model)
    for done, optimizer in go(network, state, examples, order):
        if done == 3:
            saved = {place: value.clone() for place, value in snapshot(network, state, optimizer).items()}
    _, resumed = stack(model)
    for _ in go(network, resumed, examples, order, 3, saved):
        pass
    monkeypatch.setattr(train_module, "replayed", train_module.as_written)
    _, written = stack(model)
    for _ in go(network, written, examples, order):
        pass
    for place, value in everything(state).items():
        assert torch.equal(value, everything(resumed)[place]), place
        assert torch.equal(value, everything(written)[place]), place


@pytest.mark.parametrize("name", NAMES)
def test_batch_norm_is_never_pruned_and_rewound(cell, examples, make_program, make_member, run, watched, name):
    model = make(cell(name).config, "model")
    norms = {place for place, module in model.named_modules() if hasattr(module, "running_mean")}
    assert bool(norms) == any(part in name for part in ("resnet", "vgg", "alexnet"))
    program = make_program(
        model, problem=examples, layers=layers_of(model), levels=1, steps=2, batch_size=BATCH, validation=0
    )
    run(program, [make_member(program, "a", rates=0.5)])
    dense, sparse = watched
    for level in watched:
        assert not {mask.rpartition(".")[0] for mask in level.masks} & norms
        for norm in norms:
            assert bool((level.params[f"{norm}.weight"] == 1).all())
            assert not level.params[f"{norm}.bias"].any()
            assert not level.buffers[f"{norm}.running_mean"].any()
            assert bool((level.buffers[f"{norm}.running_var"] == 1).all())
            assert level.buffers[f"{norm}.num_batches_tracked"].tolist() == [0]
            assert not torch.equal(level.trained[f"{norm}.weight"], level.params[f"{norm}.weight"])
    for place, mask in sparse.masks.items():
        assert int(mask.sum()) == mask.numel() - round(0.5 * mask.numel())
        assert bool(dense.masks[place].all())
