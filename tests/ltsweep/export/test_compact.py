"""The compacted network has the outputs of the masked one, and no unit that nothing reaches or reads."""

import functools
import operator
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from ltsweep.errors import UserError
from ltsweep.export import compact as room
from ltsweep.export.compact import chain, compact, source
from ltsweep.models import lenet5, lenet_300_100
from ltsweep.prune import layers_of


def drawn(model, share, seed=0, bias=1.0):
    """Return random weights, biases and running statistics of a model, and masks of a random share."""
    rng = torch.Generator().manual_seed(seed)
    weights = {}
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if not value.is_floating_point():
            weights[name] = value.clone()
        elif name.endswith("running_var"):
            weights[name] = torch.rand(value.shape, generator=rng) + 0.5
        else:
            scale = bias if value.dim() < 2 else (value[0].numel() * share) ** -0.5
            weights[name] = scale * torch.randn(value.shape, generator=rng)
    shapes = {layer.name: layer.shape for layer in layers_of(model)}
    return weights, {name: (torch.rand(shape, generator=rng) < share).float() for name, shape in shapes.items()}


def masked_output(model, weights, masks, x):
    changed = {name: value * masks.get(name, torch.ones(())) for name, value in weights.items()}
    return torch.func.functional_call(model.eval(), changed, x)


def conv_bn(padding=1, mode="zeros", act=nn.ReLU):
    layers = [
        ("conv1", nn.Conv2d(1, 12, 3, padding=padding, padding_mode=mode)),
        ("bn1", nn.BatchNorm2d(12)),
        ("act1", act()),
        ("conv2", nn.Conv2d(12, 10, 3, padding=padding, padding_mode=mode, bias=False)),
        ("bn2", nn.BatchNorm2d(10)),
        ("act2", act()),
        ("pool", nn.AvgPool2d(2)),
        ("flatten", nn.Flatten()),
        ("fc", nn.Linear(10 * ((8 - 4 * (padding == 0)) // 2) ** 2, 20)),
        ("bn3", nn.BatchNorm1d(20)),
        ("act3", act()),
        ("output", nn.Linear(20, 3)),
    ]
    return nn.Sequential(OrderedDict(layers))


class Written(nn.Module):
    """A chain whose forward pass is written by hand, with layers in a nested Sequential."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.MaxPool2d(2))
        self.fc, self.output = nn.Linear(32, 16), nn.Linear(16, 3)

    def forward(self, x):
        x = torch.flatten(nn.functional.relu(self.features(x)), 1)
        return self.output(torch.tanh(self.fc(x)))


MODELS = {
    "lenet_300_100": (functools.partial(lenet_300_100, [1, 8, 8], 10), [1, 8, 8]),
    "lenet_300_100 leaky": (functools.partial(lenet_300_100, [1, 8, 8], 10, "leaky_relu", 0.1), [1, 8, 8]),
    "lenet5": (functools.partial(lenet5, [1, 8, 8], 10), [1, 8, 8]),
    "batch norm": (conv_bn, [1, 8, 8]),
    "batch norm, unpadded": (functools.partial(conv_bn, padding=0), [1, 8, 8]),
    "batch norm, reflected": (functools.partial(conv_bn, mode="reflect", act=nn.Sigmoid), [1, 8, 8]),
    "batch norm, same": (functools.partial(conv_bn, padding="same", act=nn.Sigmoid), [1, 8, 8]),
    "written": (Written, [1, 8, 8]),
}


@pytest.mark.parametrize("share", [0.5, 0.05, 0.01, 0.002])
@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_those_of_the_masked_network(name, share):
    make, shape = MODELS[name]
    model = make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for seed in range(3):
        weights, masks = drawn(model, share, seed)
        small = compact(model, weights, masks, shape)
        x = torch.randn(64, *shape, generator=torch.Generator().manual_seed(1))
        expected = masked_output(model, weights, masks, x)
        torch.testing.assert_close(small(x), expected, rtol=1e-5, atol=2e-5)
        sizes = [sum(p.numel() for p in one.parameters()) for one in (small, model)]
        assert sizes[0] < sizes[1] / 2 or share > 0.01
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", MODELS)
def test_no_unit_is_left_that_could_go(name):
    """Compacting twice removes nothing more; the masks of the second are what the first left."""
    make, shape = MODELS[name]
    weights, masks = drawn(make(), 0.02, 5)
    small = compact(make(), weights, masks, shape)
    left = {name: value.ne(0).float() for name, value in small.named_parameters() if value.dim() > 1}
    again = compact(small, dict(small.state_dict()), left, shape)
    assert [tuple(p.shape) for p in again.parameters()] == [tuple(p.shape) for p in small.parameters()]


def chain_of(act=nn.Sigmoid):
    return nn.Sequential(OrderedDict([("fc1", nn.Linear(2, 4)), ("act", act()), ("out", nn.Linear(4, 2))]))


def test_by_hand_each_kind_of_unit():
    """Unit 0 lives, unit 1 has no inputs and is folded, unit 2 has no outputs, unit 3 has neither."""
    model = chain_of()
    weights = {
        "fc1.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]),
        "fc1.bias": torch.tensor([0.1, 0.2, 0.3, 0.4]),
        "out.weight": torch.tensor([[1.0, 10.0, 100.0, 1000.0], [2.0, 20.0, 200.0, 2000.0]]),
        "out.bias": torch.tensor([0.5, 0.6]),
    }
    masks = {
        "fc1.weight": torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]),
        "out.weight": torch.tensor([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]),
    }
    small = compact(model, weights, masks, [2])
    assert small.fc1.weight.tolist() == [[1.0, 2.0]]
    assert small.fc1.bias.tolist() == pytest.approx([0.1])
    assert small.out.weight.tolist() == [[1.0], [2.0]]
    constant = torch.sigmoid(torch.tensor(0.2)).item()
    assert small.out.bias.tolist() == pytest.approx([0.5 + 10 * constant, 0.6])


def test_what_feeds_only_a_constant_or_unread_unit_goes_too():
    layers = [nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)]
    model = nn.Sequential(*layers)
    weights, masks = drawn(model, 1.0)
    masks["2.weight"] = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    masks["0.weight"][1] = 0  # 1 is constant, so 1 of the next layer is too
    masks["4.weight"][:, 2] = 0  # 2 is read by nothing, so 2 of the layer before is not either
    small = compact(model, weights, masks, [3])
    assert [tuple(p.shape) for p in small.parameters() if p.dim() > 1] == [(1, 3), (1, 1), (2, 1)]


def test_an_emptied_layer_keeps_a_unit_and_the_constant():
    weights, masks = drawn(chain_of(), 1.0)
    masks["fc1.weight"][:] = 0
    small = compact(chain_of(), weights, masks, [2])
    assert small.fc1.weight.tolist() == [[0.0, 0.0]]
    x = torch.randn(5, 2)
    torch.testing.assert_close(small(x), masked_output(chain_of(), weights, masks, x))


def test_a_constant_channel_before_zero_padding_stays_unless_it_is_zero():
    def sizes(bias, padding):
        model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=padding), nn.Flatten())
        weights, masks = drawn(model, 1.0)
        weights["0.bias"][0] = bias
        masks["0.weight"][0] = 0
        return compact(model, weights, masks, [1, 8, 8])[0].out_channels

    assert [sizes(1.0, 1), sizes(-1.0, 1), sizes(1.0, 0)] == [3, 2, 2]


class Joined(nn.Module):
    def __init__(self, join):
        super().__init__()
        self.one, self.two, self.join = nn.Linear(4, 4), nn.Linear(4, 4), join

    def forward(self, x):
        return self.join(self.one(x), self.two)


@pytest.mark.parametrize(
    ("model", "shape", "says"),
    [
        (Joined(lambda x, two: operator.add(x, two(x))), [4], "no plain chain"),
        (Joined(lambda x, two: two(x) if x.sum() > 0 else x), [4], "cannot be followed"),
        (Joined(lambda x, two: two(torch.softmax(x, 1))), [4], "is not followed: "),
        (Joined(lambda x, two: two(x.view(-1, 4))), [4], "is not followed: "),
        (Joined(lambda x, two: two(two(x))), [4], "the weights of two_1 twice"),
        (nn.Sequential(nn.Linear(4, 4), nn.Softmax(1)), [4], "is not followed: _1, Softmax"),
        (nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.Flatten()), [4, 5, 5], "is not followed: _0, Conv2d"),
        (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False)), [4], "BatchNorm1d"),
        (nn.Sequential(nn.Linear(4, 4), nn.MaxPool1d(2), nn.Linear(2, 2)), [4], "_1 mixes units"),
        (nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Linear(5, 2)), [4, 5, 5], "only flat inputs are followed"),
        (resnet18(num_classes=3), [3, 32, 32], "no plain chain"),
    ],
)
def test_other_structures_are_refused_in_a_line(model, shape, says):
    weights, masks = drawn(model, 0.5)
    with pytest.raises(UserError, match=says) as refused:
        compact(model, weights, masks, shape)
    assert "\n" not in str(refused.value)


def test_a_network_that_does_otherwise_is_noticed(monkeypatch):
    monkeypatch.setattr(room, "_folds", lambda link, units: torch.ones(units, dtype=torch.bool))
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=1), nn.Flatten())
    weights, masks = drawn(model, 1.0)
    weights["0.bias"][0] = 9.0
    masks["0.weight"][0] = 0
    with pytest.raises(UserError, match=r"the compacted network is .* off"):
        compact(model, weights, masks, [1, 8, 8])


@pytest.mark.parametrize("name", MODELS)
def test_the_source_makes_the_network_anew(name):
    make, shape = MODELS[name]
    small = compact(make(), *drawn(make(), 0.1), shape)
    made = {}
    exec(compile(source(small, "compact.safetensors"), "compact.py", "exec"), made)
    other = made["network"]()
    other.load_state_dict(small.state_dict())
    assert not other.training
    x = torch.randn(3, *shape)
    assert torch.equal(other(x), small(x))


def test_a_chain_has_the_layers_in_order():
    assert [name for name, _ in chain(Written())] == [
        "features_0", "features_1", "features_2", "features_3", "relu", "flatten", "fc", "tanh", "output",
    ]  # fmt: skip


def test_a_masked_bias_is_no_mask_of_units():
    weights, masks = drawn(chain_of(), 0.7)
    masks["fc1.bias"] = torch.tensor([1.0, 0.0, 1.0, 0.0])
    x = torch.randn(5, 2)
    small = compact(chain_of(), weights, masks, [2])
    torch.testing.assert_close(small(x), masked_output(chain_of(), weights, masks, x))
