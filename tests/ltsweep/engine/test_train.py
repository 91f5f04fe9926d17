import copy
import functools
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ltsweep.data import Examples
from ltsweep.engine import stack as stack_module
from ltsweep.engine import train as train_module
from ltsweep.engine.problem import Draws
from ltsweep.engine.stack import Network
from ltsweep.engine.train import Group, scored, train
from ltsweep.engine.trained import MaskedWeights
from ltsweep.init import draw, kaiming_normal, xavier_uniform
from ltsweep.method import IMP, Arm, Past
from ltsweep.models import lenet5, lenet_300_100
from ltsweep.optim import constant, cosine
from ltsweep.prune import layers_of, shuffle
from ltsweep.rng import generator

CPU = torch.device("cpu")


def resnet18():
    from torchvision.models import resnet18

    return resnet18(num_classes=3)


def small_bn():
    # Without biases before batch norm: their gradient is zero but for rounding, which Adam blows up.
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 5, 3, stride=2, bias=False),
        nn.BatchNorm2d(5),
        nn.Flatten(),
        nn.Linear(20, 3),
    )


MODELS = {
    "lenet_300_100": (lambda: lenet_300_100((1, 6, 6), 3, "leaky_relu", 0.05), (1, 6, 6)),
    "lenet5": (lambda: lenet5((1, 6, 6), 3), (1, 6, 6)),
    "batch_norm": (small_bn, (1, 6, 6)),
}
OPTIMIZERS = {
    "adam": functools.partial(torch.optim.Adam, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0),
    "sgd_momentum": functools.partial(torch.optim.SGD, momentum=0.9, weight_decay=0.0),
    "sgd_nesterov": functools.partial(torch.optim.SGD, momentum=0.9, nesterov=True, weight_decay=0.0),
}
ARMS = [Arm("ticket"), Arm("reinit", 0), Arm("random_mask", 1)]


def double(tensors):
    return {name: value.double() if value.is_floating_point() else value for name, value in tensors.items()}


def row_of(state, c):
    return {name: value[c].clone() for name, value in {**state.params, **state.buffers}.items()}


def starts(model, cells, arms=ARMS):
    """Return the weights and masks, float64, that the arms of so many cells start level 2 from."""
    method, found = IMP(controls=("reinit", "random_mask"), draws=2), []
    for seed in range(cells):
        rng = torch.Generator().manual_seed(seed)
        masks = {layer.name: (torch.rand(layer.shape, generator=rng) < 0.6).float() for layer in layers_of(model)}
        init = (xavier_uniform, kaiming_normal)[seed % 2]
        initial = draw(model, init, seed, "init")
        found += [method.start(arm, Past(model, init, seed, 2, initial, masks)) for arm in arms]
    return [(double(weights), double(masks)) for weights, masks in found]


def groups_of(rates, decays, arms=3, schedule=cosine):
    """Return one group for each cell of so many arms."""
    return [
        Group(slice(c * arms, (c + 1) * arms), functools.partial(schedule, value=lr), {"weight_decay": decay})
        for c, (lr, decay) in enumerate(zip(rates, decays, strict=True))
    ]


def cells_of(cells, networks=1, validation=0):
    """Return what so many cells draw by, each with so many networks."""
    return [Draws(seed, 0, validation, networks) for seed in range(cells)]


def go(network, state, data, order, *rest):
    """Train the weights of `state` under their masks."""
    return train(network, MaskedWeights(network), state, data, iter(order), *rest)


def evaluate(network, state, data, cells):
    return data.evaluate(scored(network, MaskedWeights(network), state), {}, cells)


def data_of(make_data, shape, **sizes):
    return make_data(shape=shape, **sizes).map(lambda t: t.double() if t.is_floating_point() else t)


def loop(model, weights, masks, data, order, make_optimizer, schedule, settings, steps):
    """Train one network as anyone would, with a stock module and optimizer, and return it."""
    model = copy.deepcopy(model).double().train()
    model.load_state_dict(weights)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, mask in masks.items():
            parameters[name].mul_(mask)
    optimizer = make_optimizer(model.parameters(), lr=schedule(0, steps), fused=False, foreach=False, **settings)
    for step, index in zip(range(steps), order, strict=False):
        optimizer.param_groups[0]["lr"] = schedule(step, steps)
        optimizer.zero_grad()
        cross_entropy(model(data.train_x[index]), data.train_y[index]).backward()
        optimizer.step()
        with torch.no_grad():
            for name, mask in masks.items():
                parameters[name].mul_(mask)
    return model


def compare(model, data, make_optimizer, groups, networks, fused, steps, batch_size):
    arms = len(networks) // len(groups)
    order = data.batches(cells_of(len(groups), arms), batch_size)
    order = [next(order) for _ in range(steps)]
    network = Network(model)
    state = network.stack([w for w, _ in networks], [m for _, m in networks], CPU)
    for _ in go(network, state, data, order, functools.partial(make_optimizer, fused=fused), groups, steps):
        pass
    for c, (weights, masks) in enumerate(networks):
        group = groups[c // arms]
        own = [index[c] for (index,) in order]
        alone = loop(model, weights, masks, data, own, make_optimizer, group.schedule, group.settings, steps)
        row = row_of(state, c)
        for name, value in alone.state_dict().items():
            assert not torch.equal(value, weights[name])
            torch.testing.assert_close(row[name], value, rtol=1e-9, atol=1e-9, check_dtype=False)
        for name, mask in masks.items():
            assert bool((row[name][mask == 0] == 0).all())


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "unfused"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", MODELS)
def test_a_stack_trains_as_plain_loops_do(make_data, name, optimizer, fused):
    """Two cells of three arms, with rates, weight decays, masks and data orders of their own."""
    build, shape = MODELS[name]
    model = build()
    groups = groups_of([0.02, 0.003], [1e-2, 0.0] if optimizer != "sgd_momentum" else [0.0, 0.0])
    compare(
        model,
        data_of(make_data, shape, train=21, test=3),
        OPTIMIZERS[optimizer],
        groups,
        starts(model, 2),
        fused,
        steps=8,  # two epochs and a half, the last batch of each smaller
        batch_size=8,
    )


@pytest.mark.slow
def test_a_stack_of_resnets_trains_as_plain_loops_do(make_data):
    model = resnet18()
    groups = groups_of([0.01, 0.002], [1e-4, 0.0], arms=1)
    networks = starts(model, 2, arms=[Arm("ticket")])
    data = data_of(make_data, (3, 32, 32), train=16, test=3)
    compare(model, data, OPTIMIZERS["adam"], groups, networks, True, steps=2, batch_size=8)


def trained(model, networks, data, groups, make_optimizer, steps=6, batch_size=8):
    network = Network(model)
    state = network.stack([w for w, _ in networks], [m for _, m in networks], CPU)
    order = data.batches(cells_of(len(networks)), batch_size)
    for _ in go(network, state, data, order, make_optimizer, groups, steps):
        pass
    return network, state


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("how", ["huge rate", "weights of nan", "weights of inf"])
def test_a_network_that_diverges_leaves_its_neighbours_bit_for_bit(make_data, name, optimizer, how):
    build, shape = MODELS[name]
    model = build()
    data = make_data(shape=shape, train=21, test=9)
    networks = [
        ({n: v.float() if v.is_floating_point() else v for n, v in w.items()}, {n: v.float() for n, v in m.items()})
        for w, m in starts(model, 3, arms=[Arm("ticket")])
    ]
    rates = [0.01, 0.02, 0.03]
    make = functools.partial(OPTIMIZERS[optimizer], fused=True)
    held_out = cells_of(3, validation=7)
    network, healthy = trained(model, networks, data, groups_of(rates, [1e-3] * 3, arms=1), make)
    expected = evaluate(network, healthy, data, held_out)
    assert all(math.isfinite(number) for numbers in expected.values() for number in numbers)

    if how == "huge rate":
        rates[1] = 1e30
    else:
        value = math.nan if how == "weights of nan" else math.inf
        networks[1] = (
            {n: torch.full_like(v, value) if v.is_floating_point() else v for n, v in networks[1][0].items()},
            networks[1][1],
        )
    network, state = trained(model, networks, data, groups_of(rates, [1e-3] * 3, arms=1), make)
    scores = evaluate(network, state, data, held_out)
    assert not math.isfinite(scores["train_loss"][1])
    for c in (0, 2):
        before, after = row_of(healthy, c), row_of(state, c)
        assert all(torch.equal(before[n], after[n]) for n in before)
        assert {n: s[c] for n, s in scores.items()} == {n: s[c] for n, s in expected.items()}


def count_forwards(monkeypatch):
    """Return a list that grows by the batch size whenever a network is computed by Python, and so not replayed."""
    sizes, call = [], Network.__call__
    monkeypatch.setattr(
        Network,
        "__call__",
        lambda self, p, b, x, **how: (sizes.append(x.shape[1]), call(self, p, b, x, **how))[1],
    )
    return sizes


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", MODELS)
def test_a_replayed_step_is_the_step_bit_for_bit(make_data, monkeypatch, name, optimizer):
    """Over rates that change each step, smaller batches in between, masks, weight decay and running statistics."""
    build, shape = MODELS[name]
    model, networks = build(), starts(build(), 2)
    networks = [({n: v.float() for n, v in w.items()}, {n: v.float() for n, v in m.items()}) for w, m in networks]
    arguments = (model, networks, make_data(shape=shape, train=21), groups_of([0.02, 0.003], [1e-2, 0.0]))
    make = functools.partial(OPTIMIZERS[optimizer], fused=True)
    sizes = count_forwards(monkeypatch)
    _, replayed = trained(*arguments, make, steps=10)
    assert sizes == [8, 8, 5, 5, 5]  # the first as written, the second recorded; the others of 8 are replayed
    monkeypatch.setattr(train_module, "replayed", train_module.as_written)
    _, written = trained(*arguments, make, steps=10)
    assert len(sizes) == 5 + 10
    for old, new in ((written.params, replayed.params), (written.buffers, replayed.buffers)):
        assert all(torch.equal(value, new[name]) for name, value in old.items())


@pytest.mark.slow
def test_a_replayed_resnet_is_the_resnet_bit_for_bit(make_data, monkeypatch):
    model = resnet18()
    networks = [
        ({n: v.float() if v.is_floating_point() else v for n, v in w.items()}, {n: v.float() for n, v in m.items()})
        for w, m in starts(model, 2, arms=[Arm("ticket")])
    ]
    arguments = (model, networks, make_data(shape=(3, 32, 32), train=16), groups_of([0.01, 0.002], [1e-4, 0.0], arms=1))
    make = functools.partial(OPTIMIZERS["adam"], fused=True)
    sizes = count_forwards(monkeypatch)
    _, replayed = trained(*arguments, make, steps=5)
    assert len(sizes) == 2
    monkeypatch.setattr(train_module, "replayed", train_module.as_written)
    _, written = trained(*arguments, make, steps=5)
    for old, new in ((written.params, replayed.params), (written.buffers, replayed.buffers)):
        assert all(torch.equal(value, new[name]) for name, value in old.items())


@pytest.mark.parametrize("name", MODELS)
def test_a_gradient_is_clipped_by_its_own_networks_norm(make_data, monkeypatch, name):
    """Against a plain loop, in which removed weights have no gradient."""
    build, shape = MODELS[name]
    model, data, most = build(), data_of(make_data, shape, train=24), 1.4 if name == "lenet_300_100" else 0.9
    networks = starts(model, 2, arms=[Arm("ticket"), Arm("reinit", 0)])
    make, groups = OPTIMIZERS["sgd_momentum"], groups_of([0.1, 0.05], [1e-3, 0.0], arms=2)
    order = data.batches(cells_of(2, 2), 8)
    order, norms, ended = [next(order) for _ in range(6)], [], {}
    for c, (weights, masks) in enumerate(networks):
        alone = copy.deepcopy(model).double().train()
        alone.load_state_dict(weights)
        own = dict(alone.named_parameters())
        for place, mask in masks.items():
            own[place].data.mul_(mask)
        optimizer = make(alone.parameters(), lr=0.0, **groups[c // 2].settings)
        for step, (index,) in enumerate(order):
            optimizer.param_groups[0]["lr"] = groups[c // 2].schedule(step, 6)
            optimizer.zero_grad()
            cross_entropy(alone(data.train_x[index[c]]), data.train_y[index[c]]).backward()
            for place, mask in masks.items():
                own[place].grad.mul_(mask)
            norms.append(math.sqrt(sum(float(value.grad.pow(2).sum()) for value in own.values())))
            for value in own.values():
                value.grad.mul_(min(1, most / norms[-1]))
            optimizer.step()
            for place, mask in masks.items():
                own[place].data.mul_(mask)
        ended[c] = alone.state_dict()
    assert min(norms) < most < max(norms)
    for way in (train_module.replayed, train_module.as_written):
        monkeypatch.setattr(train_module, "replayed", way)
        network = Network(model)
        state = network.stack([w for w, _ in networks], [m for _, m in networks], CPU)
        fused = functools.partial(make, fused=True)
        for _ in go(network, state, data, order, fused, groups, 6, 0, None, most):
            pass
        for c, expected in ended.items():
            for place, value in expected.items():
                found = row_of(state, c)[place]
                torch.testing.assert_close(found, value, rtol=1e-9, atol=1e-9, check_dtype=False)


def test_a_gradient_below_the_bound_and_one_that_is_nothing_are_left(make_data):
    """To the bit. A network of zeros has a gradient in its last bias alone; one that diverged has no norm."""
    model = MODELS["lenet_300_100"][0]()
    data, networks = make_data(shape=(1, 6, 6), train=21), starts(model, 3, arms=[Arm("ticket")])
    networks = [({n: v.float() for n, v in w.items()}, {n: v.float() for n, v in m.items()}) for w, m in networks]
    networks[1] = ({n: torch.zeros_like(v) for n, v in networks[1][0].items()}, networks[1][1])
    networks.append(({n: v * math.nan for n, v in networks[2][0].items()}, networks[2][1]))
    network, states = Network(model), []
    for clip in (None, 1e6):
        state = network.stack([w for w, _ in networks], [m for _, m in networks], CPU)
        order = data.batches(cells_of(4), 8)
        make = functools.partial(torch.optim.SGD, fused=True)
        for _ in go(network, state, data, order, make, groups_of([0.1] * 4, [0.0] * 4, arms=1), 5, 0, None, clip):
            pass
        states.append(state.params)
    for place, value in states[0].items():
        assert torch.equal(value[:3], states[1][place][:3])
        assert bool(states[1][place][3].isnan()[states[1][place][3] != 0].all())


class _CountsByItself(torch.optim.SGD):
    """Has a fused option, and a count that a recording would not see."""

    def step(self, closure=None):
        self.taken = getattr(self, "taken", 0) + 1
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data.sub_(parameter.grad, alpha=0.01 / self.taken)


@pytest.mark.parametrize(
    "make",
    [
        functools.partial(torch.optim.Adam, fused=False),
        functools.partial(torch.optim.SGD, momentum=0.9, fused=False, foreach=True),
        functools.partial(torch.optim.Adagrad, fused=True),
        torch.optim.RMSprop,
        torch.optim.NAdam,
        functools.partial(_CountsByItself, fused=True),
    ],
    ids=["adam", "sgd", "adagrad", "rmsprop", "nadam", "own"],
)
def test_an_optimizer_that_keeps_count_elsewhere_is_not_replayed(make_data, monkeypatch, make):
    model = MODELS["lenet_300_100"][0]()
    networks = starts(model, 1, arms=[Arm("ticket")])
    sizes = count_forwards(monkeypatch)
    trained(model, networks, data_of(make_data, (1, 6, 6), train=21), groups_of([0.01], [0.0], arms=1), make, steps=10)
    assert sizes == [8, 8, 5, 8, 8, 5, 8, 8, 5, 8]


@pytest.mark.parametrize("name", MODELS)
def test_bf16_rounds_what_float32_computes(make_data, monkeypatch, name):
    """Its logits are within the eight bits of the format, its weights stay float32, and it is replayed to the bit."""
    build, shape = MODELS[name]
    model, data = build(), make_data(shape=shape, train=21)
    networks = [
        ({n: v.float() for n, v in w.items()}, {n: v.float() for n, v in m.items()}) for w, m in starts(model, 2)
    ]
    network, rounded = Network(model), Network(model, "bf16")
    state = network.stack([w for w, _ in networks], [m for _, m in networks], CPU)
    buffers = copy.deepcopy(state.buffers)
    exact = network(state.params, buffers, data.train_x, shared=True)
    found = rounded(state.params, buffers, data.train_x, shared=True)
    assert found.dtype is torch.float32
    assert not torch.equal(found, exact)
    assert (found - exact).abs().max() < 0.05 * exact.abs().max()
    ended = []
    for way in (train_module.replayed, train_module.as_written):
        monkeypatch.setattr(train_module, "replayed", way)
        state = rounded.stack([w for w, _ in networks], [m for _, m in networks], CPU)
        order = data.batches(cells_of(2, 3), 8)
        make = functools.partial(torch.optim.Adam, fused=True)
        for _ in go(rounded, state, data, order, make, groups_of([0.02, 0.003], [0.0, 0.0]), 8):
            pass
        assert all(value.dtype is torch.float32 for value in state.params.values())
        ended.append(state.params)
    assert all(torch.equal(value, ended[1][n]) for n, value in ended[0].items())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", MODELS)
def test_a_captured_step_is_the_step(make_data, monkeypatch, name, optimizer):
    build, shape = MODELS[name]
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    model, device = build(), torch.device("cuda")
    data = make_data(shape=shape, train=37).map(lambda tensor: tensor.to(device))
    networks = [
        ({n: v.float() for n, v in w.items()}, {n: v.float() for n, v in m.items()}) for w, m in starts(model, 2)
    ]
    sizes, states = count_forwards(monkeypatch), []
    for way in (train_module.replayed, train_module.as_written):
        monkeypatch.setattr(train_module, "replayed", way)
        network = Network(model)
        state = network.stack([w for w, _ in networks], [m for _, m in networks], device)
        order = data.batches(cells_of(2, 3), 8)  # 8, 8, 8, 8, 5
        make = functools.partial(OPTIMIZERS[optimizer], fused=True)
        for _ in go(network, state, data, order, make, groups_of([0.02, 0.003], [1e-2, 0.0]), 20):
            pass
        states.append(state)
    captured = [8, 8, 8, 8, 5, 5, 5, 5]  # three to warm up, one to capture
    assert sizes[: len(captured)] == captured
    assert len(sizes) == len(captured) + 20
    for old, new in ((states[1].params, states[0].params), (states[1].buffers, states[0].buffers)):
        assert all(torch.equal(value, new[name]) for name, value in old.items())


def test_cells_of_one_group_train_as_in_groups_of_their_own(make_data):
    model = MODELS["batch_norm"][0]()
    data, networks = data_of(make_data, (1, 6, 6), train=21), starts(model, 4, arms=[Arm("ticket")])
    one = [Group(slice(0, 4), functools.partial(constant, value=0.01), {"weight_decay": 0.1})]
    make = functools.partial(OPTIMIZERS["adam"], fused=True)
    together = trained(model, networks, data, one, make)[1]
    apart = trained(model, networks, data, groups_of([0.01] * 4, [0.1] * 4, arms=1, schedule=constant), make)[1]
    for name, value in together.params.items():
        torch.testing.assert_close(value, apart.params[name], rtol=1e-12, atol=1e-12)


def test_the_rate_of_every_step_is_the_schedules(make_data):
    model = MODELS["lenet_300_100"][0]()
    used = []

    class Noting(torch.optim.SGD):
        def step(self, closure=None):
            used.append([group["lr"] for group in self.param_groups])
            return super().step(closure)

    groups = [
        Group(slice(0, 1), lambda step, steps: 0.001 * (step + 1), {}),
        Group(slice(1, 3), lambda step, steps: 0.5 / steps, {}),
    ]
    trained(model, starts(model, 3, arms=[Arm("ticket")]), data_of(make_data, (1, 6, 6)), groups, Noting, steps=5)
    assert used == [[0.001 * (step + 1), 0.1] for step in range(5)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_masked_weights_are_zero_at_every_yield(make_data, optimizer):
    model = MODELS["lenet5"][0]()
    networks = starts(model, 2)
    network = Network(model)
    state = network.stack([w for w, _ in networks], [m for _, m in networks], CPU)
    data = data_of(make_data, (1, 6, 6), train=21)
    groups = groups_of([0.05, 0.05], [0.1, 0.1])
    yields = 0
    for done, _ in go(network, state, data, data.batches(cells_of(2, 3), 8), OPTIMIZERS[optimizer], groups, 5):
        yields += 1
        assert done == yields
        for name, mask in state.masks.items():
            assert torch.equal(state.params[name] != 0, mask != 0)
    assert yields == 5


def test_evaluation_equals_each_network_scored_plainly_whatever_the_chunks(make_data, monkeypatch):
    model = MODELS["batch_norm"][0]()
    data = data_of(make_data, (1, 6, 6), train=29, test=17)
    networks = starts(model, 2)
    network = Network(model)
    state = network.stack([w for w, _ in networks], [m for _, m in networks], CPU)
    for name, value in state.buffers.items():
        if name.endswith(("mean", "var")):
            value.copy_(torch.rand(value.shape, generator=torch.Generator().manual_seed(1)) + 0.5)
    cells = cells_of(2, 3, validation=9)
    before = copy.deepcopy((state.params, state.buffers))
    whole = evaluate(network, state, data, cells)
    # 144 activations of the widest layer, 6 networks: chunks of 5 examples, so that both splits end in a smaller one
    monkeypatch.setitem(stack_module.ACTIVATIONS, "cpu", 5 * 144 * 6)
    sizes, call = [], Network.__call__
    monkeypatch.setattr(
        Network, "__call__", lambda self, p, b, x, **how: (sizes.append(len(x)), call(self, p, b, x, **how))[1]
    )
    chunked = evaluate(network, state, data, cells)
    assert sizes == [5, 5, 4, 5, 5, 2]  # three more chunks of 5, and one, are replayed
    for old, new in zip(before, (state.params, state.buffers), strict=True):
        assert all(torch.equal(value, new[name]) for name, value in old.items())
    for c in range(6):
        alone = copy.deepcopy(model).double().eval()
        alone.load_state_dict(row_of(state, c))
        kept = data._held_out(cells[c // 3])
        assert int(kept.sum()) == 9
        for split, x, y in (
            ("train", data.train_x[~kept], data.train_y[~kept]),
            ("val", data.train_x[kept], data.train_y[kept]),
            ("test", data.test_x, data.test_y),
        ):
            logits = alone(x).detach()
            for scores in (whole, chunked):
                assert scores[f"{split}_loss"][c] == pytest.approx(cross_entropy(logits, y).item(), rel=1e-9)
                assert scores[f"{split}_accuracy"][c] == int((logits.argmax(1) == y).sum()) / len(y)


def test_an_example_that_cannot_be_scored_spoils_its_own_split_alone(make_data):
    model = MODELS["lenet_300_100"][0]()
    networks = starts(model, 1, arms=[Arm("ticket")])
    network = Network(model)
    state = network.stack([networks[0][0]], [networks[0][1]], CPU)
    data = data_of(make_data, (1, 6, 6), train=9, test=5)
    (cell,) = cells_of(1, validation=1)
    data.train_x[data._held_out(cell)] = math.nan
    scores = evaluate(network, state, data, [cell])
    assert [math.isfinite(scores[f"{split}_loss"][0]) for split in ("train", "val", "test")] == [True, False, True]
    data.train_x[:] = torch.where(data._held_out(cell).view(-1, 1, 1, 1), 0.5, math.nan)
    scores = evaluate(network, state, data, [cell])
    assert [math.isfinite(scores[f"{split}_loss"][0]) for split in ("train", "val", "test")] == [False, True, True]


def test_losses_have_the_type_of_the_weights_whatever_type_the_inputs_have(make_data):
    """Whole-number inputs, such as tokens, must not round the losses to whole numbers."""
    table = nn.Embedding(5, 3)
    whole = Examples(*(torch.arange(12) % 5, torch.arange(12) % 3, torch.arange(6) % 5, torch.arange(6) % 3))
    network = Network(nn.Sequential(table))
    state = network.stack([{"0.weight": table.weight.detach()}], [{"0.weight": torch.ones(5, 3)}], CPU)
    scores = evaluate(network, state, whole, cells_of(1))
    expected = cross_entropy(table(whole.test_x), whole.test_y).item()
    assert scores["test_loss"][0] == pytest.approx(expected, rel=1e-6)
    assert expected % 1 != 0


def test_a_split_without_examples_scores_nan(make_data):
    model = MODELS["lenet_300_100"][0]()
    networks = starts(model, 1, arms=[Arm("ticket")])
    network = Network(model)
    state = network.stack([networks[0][0]], [networks[0][1]], CPU)
    scores = evaluate(network, state, data_of(make_data, (1, 6, 6), train=9, test=5), cells_of(1))
    assert math.isnan(scores["val_loss"][0])
    assert math.isnan(scores["val_accuracy"][0])
    assert math.isfinite(scores["train_loss"][0])
    assert math.isfinite(scores["test_loss"][0])


@pytest.mark.parametrize("batch_size", [1, 4, 7, 20, 50])
def test_an_epoch_is_every_example_once_in_a_new_order(make_data, batch_size):
    data, cells = make_data(train=25), cells_of(2, 3, validation=5)
    kept = [(~data._held_out(cell)).nonzero().flatten() for cell in cells]
    stream = data.batches(cells, batch_size)
    sizes = [batch_size] * (20 // batch_size) + [20 % batch_size] * (20 % batch_size > 0)
    assert data.epoch(batch_size, 5) == len(sizes)
    epochs = []
    for _ in range(3):
        parts = [index for size in sizes for (index,) in [next(stream)]]
        assert [part.shape for part in parts] == [(6, size) for size in sizes]
        epochs.append(torch.cat(parts, dim=1))
        for c in range(6):
            assert torch.equal(epochs[-1][c].sort().values, kept[c // 3])  # every example once
            assert torch.equal(epochs[-1][c], epochs[-1][c // 3 * 3])  # arms of a cell share the order
        assert not torch.equal(epochs[-1][0], epochs[-1][3])  # cells do not
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[1], epochs[2])


def test_batches_of_a_cell_do_not_depend_on_its_neighbours(make_data):
    data = make_data(train=20)

    def first(seeds, networks):
        order = data.batches([Draws(seed, 3, 0, networks) for seed in seeds], 6)
        return torch.cat([index for _ in range(8) for (index,) in [next(order)]], dim=1)

    assert torch.equal(first([5], 1)[0], first([4, 5, 6], 2)[2])
    assert torch.equal(shuffle(torch.arange(20), generator(5, "order", 3)), first([5], 1)[0][:20])
