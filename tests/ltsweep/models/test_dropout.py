"""Dropout from a network's own stream: what it does to numbers and gradients, and where it stands for torch's."""

import functools
import math

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from ltsweep.engine.noise import streams
from ltsweep.engine.problem import Draws
from ltsweep.engine.stack import Network
from ltsweep.errors import UserError
from ltsweep.init import draw, xavier_normal
from ltsweep.models import Dropout, mlp
from ltsweep.models.dropout import with_own_dropout
from ltsweep.prune import layers_of

CPU = torch.device("cpu")


def seeded(module, state=3):
    module.stream.fill_(state)
    return module.train()


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_a_share_p_is_zero_and_the_rest_is_divided_by_what_is_kept(p):
    x = torch.rand(100, 400) + 1
    found = seeded(Dropout(p))(x)
    dropped = found == 0
    torch.testing.assert_close(found[~dropped], (x / (1 - p))[~dropped])
    assert abs(int(dropped.sum()) - p * x.numel()) < 4 * math.sqrt(x.numel() * p * (1 - p))
    assert float(found.mean()) == pytest.approx(float(x.mean()), rel=0.05)


def test_the_gradient_of_what_is_dropped_is_zero():
    x = torch.ones(6, 7, requires_grad=True)
    found = seeded(Dropout(0.25))(x)
    found.sum().backward()
    assert torch.equal(x.grad, found.detach())
    assert x.grad.unique().tolist() == pytest.approx([0, 4 / 3])


def test_every_step_drops_others_and_an_evaluation_none():
    module, x = seeded(Dropout(0.5)), torch.ones(8, 9)
    first, second = module(x), module(x)
    assert not torch.equal(first, second)
    stream = module.stream.clone()
    assert module.eval()(x) is x
    assert torch.equal(module.stream, stream)
    assert torch.equal(seeded(module)(x), first)  # the stream alone decides


@pytest.mark.parametrize("axes", [0, 1, 2, 3])
def test_what_goes_together(axes):
    found = seeded(Dropout(0.5, axes))(torch.ones(20, 3, 4, 5))
    groups = found.flatten(axes).flatten(0, max(0, axes - 1)) if axes else found.view(1, -1)
    assert all(len(group.unique()) == 1 for group in groups)
    assert set(found.unique().tolist()) <= {0.0, 2.0}
    assert axes == 0 or len(found.unique()) == 2


def test_the_type_of_the_numbers_stays():
    for dtype in (torch.float64, torch.bfloat16):
        assert seeded(Dropout(0.5))(torch.ones(3, 3, dtype=dtype)).dtype is dtype


@pytest.mark.parametrize("p", [-0.1, 1, 1.5, True, "half", math.nan])
def test_a_share_that_leaves_nothing_or_is_none_is_refused(p):
    with pytest.raises(UserError, match=r"^a dropout of .* is out of range: it is a number from 0 to below 1$"):
        Dropout(p)


def test_torchs_dropouts_are_replaced_wherever_they_are():
    model = nn.Sequential(
        nn.Dropout(0.2, inplace=True),
        nn.ModuleDict({"in": nn.Sequential(nn.Dropout2d(0.3))}),
        nn.AlphaDropout(0.1),
        StochasticDepth(0.4, "row"),
        StochasticDepth(0.4, "batch"),
    )
    assert with_own_dropout(model) is model
    assert [str(module) for module in model.modules() if not list(module.children())] == [
        "Dropout(p=0.2)",
        "Dropout(p=0.3, axes=2)",
        "AlphaDropout(p=0.1, inplace=False)",
        "Dropout(p=0.4, axes=1)",
        "Dropout(p=0.4, axes=0)",
    ]
    shared = nn.Dropout(0.4)
    twice = with_own_dropout(nn.Sequential(shared, nn.ReLU(), shared))
    assert [type(module) for module in twice] == [Dropout, nn.ReLU, Dropout]


def test_a_cells_networks_share_what_is_dropped_and_its_neighbours_do_not_matter():
    """The first layer is the identity and the last adds nothing, so that a logit says which units were dropped."""
    model = mlp((4,), 4, hidden=[4], dropout=0.5)
    weights = draw(model, xavier_normal, 0)
    assert "drop1.stream" not in weights  # it is not among the initial weights
    weights |= {"fc1.weight": torch.eye(4), "output.weight": torch.eye(4)}
    masks = {layer.name: torch.ones(layer.shape) for layer in layers_of(model)}
    network, x = Network(model), torch.rand(3, 50, 4) + 1

    def dropped(*cells):
        draws = [Draws(seed, 1, 0, networks) for seed, networks in cells]
        size = sum(networks for _, networks in cells)
        state = network.stack([weights] * size, [masks] * size, CPU)
        state.buffers.update(streams(model, draws, CPU))
        logits = network(state.params, state.buffers, x[:size], training=True)
        return [one == 0 for one in logits]

    ticket, control, other = dropped((5, 2), (6, 1))
    assert torch.equal(ticket, control)
    assert not torch.equal(ticket, other)
    assert torch.equal(dropped((6, 1))[0], other)
    assert 0.3 < float(ticket.float().mean()) < 0.7


def test_every_level_drops_others(make_program, make_member, run, watched):
    model = mlp((1, 4, 4), 3, hidden=[12, 8], dropout=0.5)
    program = make_program(model, levels=2)
    members = [make_member(program, key, seed=seed) for seed, key in enumerate("ab")]
    run(program, members)
    states = [value for level in watched for value in level.buffers.values()]
    assert len({int(value) for pair in states for value in pair}) == 3 * 2 * 2  # levels, layers, cells
    again = functools.partial(make_program, model, levels=2)
    run(again(), members)
    for one, two in zip(watched[:3], watched[3:], strict=True):
        assert all(torch.equal(value, two.buffers[name]) for name, value in one.buffers.items())
        assert all(torch.equal(value, two.trained[name]) for name, value in one.trained.items())
