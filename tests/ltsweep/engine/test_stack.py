import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call

from ltsweep.engine.stack import Network
from ltsweep.init import draw, xavier_normal
from ltsweep.models import lenet5, lenet_300_100, mlp
from ltsweep.prune import layers_of

CPU = torch.device("cpu")


class Sequence(nn.Module):
    """A linear layer over a sequence, one without bias, and one whose input is shared by all networks."""

    def __init__(self):
        super().__init__()
        self.inner, self.output = nn.Linear(4, 5, bias=False), nn.Linear(5, 3)

    def forward(self, x):
        return self.output(self.inner(x).tanh()).mean(1)


MODELS = {
    "lenet_300_100": (lambda: lenet_300_100((1, 5, 4), 3), (1, 5, 4)),
    "lenet5": (lambda: lenet5((1, 4, 4), 3), (1, 4, 4)),
    "sequence": (Sequence, (7, 4)),
}


def some(model, networks, seed=0):
    """Return so many networks and random masks, float64."""
    rng = torch.Generator().manual_seed(seed)
    drawn = [draw(model, xavier_normal, seed + c, "init") for c in range(networks)]
    masks = [
        {layer.name: (torch.rand(layer.shape, generator=rng) < 0.7).double() for layer in layers_of(model)}
        for _ in range(networks)
    ]
    return [{name: value.double() for name, value in one.items()} for one in drawn], masks


@pytest.mark.parametrize("name", MODELS)
def test_logits_and_gradients_equal_those_of_each_network_alone(name):
    build, shape = MODELS[name]
    model = build()
    weights, masks = some(model, 3)
    network = Network(model)
    state = network.stack(weights, masks, CPU)
    x = torch.randn(3, 6, *shape, dtype=torch.float64)
    leaves = {n: value.detach().requires_grad_() for n, value in state.params.items()}
    logits = network(leaves, state.buffers, x, training=True)
    assert logits.shape == (3, 6, 3)
    (logits * torch.arange(1.0, 19).view(6, 3)).pow(2).sum().backward()
    shared = network(state.params, state.buffers, x[0], shared=True)
    assert shared.shape == (3, 6, 3)
    for c in range(3):
        one = {n: (value * masks[c].get(n, 1)).requires_grad_() for n, value in weights[c].items()}
        expected = functional_call(model, one, (x[c],))
        torch.testing.assert_close(logits[c], expected, rtol=1e-10, atol=1e-12)
        (expected * torch.arange(1.0, 19).view(6, 3)).pow(2).sum().backward()
        for n, value in one.items():
            torch.testing.assert_close(leaves[n].grad[c], value.grad, rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(shared[c], functional_call(model, one, (x[0],)), rtol=1e-10, atol=1e-12)


def test_batch_norm_uses_and_updates_its_statistics_as_alone(tiny_bn):
    weights, masks = some(tiny_bn, 3)
    for c, one in enumerate(weights):
        one["bn1.running_mean"] = torch.full((4,), float(c), dtype=torch.float64)
    network = Network(tiny_bn)
    state = network.stack(weights, masks, CPU)
    x = torch.randn(3, 6, 1, 4, 4, dtype=torch.float64)
    before = {name: value.clone() for name, value in state.buffers.items()}
    shared = network(state.params, state.buffers, x[0], shared=True)
    assert all(torch.equal(value, before[name]) for name, value in state.buffers.items())
    logits = network(state.params, state.buffers, x, training=True)
    for c in range(3):
        alone = copy.deepcopy(tiny_bn).double()
        one = {n: value * masks[c].get(n, 1) for n, value in weights[c].items()}
        alone.load_state_dict(one)
        torch.testing.assert_close(shared[c], alone.eval()(x[0]), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(logits[c], alone.train()(x[c]), rtol=1e-10, atol=1e-12)
        for name, value in alone.named_buffers():
            assert not torch.equal(value, weights[c][name].to(value.dtype))
            torch.testing.assert_close(state.buffers[name][c], value, check_dtype=False, rtol=1e-10, atol=1e-12)


def test_a_stack_holds_the_networks_masked_in_torchs_layout(tiny_bn):
    weights, masks = some(tiny_bn, 4)
    state = Network(tiny_bn).stack(weights, masks, CPU)
    assert list(state.params) == [name for name, _ in tiny_bn.named_parameters()]
    assert list(state.buffers) == [name for name, _ in tiny_bn.named_buffers()]
    assert list(state.masks) == [layer.name for layer in layers_of(tiny_bn)]
    for c in range(4):
        row = {name: value[c] for name, value in {**state.params, **state.buffers}.items()}
        assert set(row) == set(weights[c])
        for name, value in weights[c].items():
            assert torch.equal(row[name], value * masks[c].get(name, 1))
            assert row[name].shape == value.shape
        for name, mask in masks[c].items():
            assert torch.equal(state.masks[name][c], mask)
            assert bool((row[name][mask == 0] == 0).all())


def test_a_stack_aliases_neither_what_it_was_made_of_nor_its_own_rows(tiny_bn):
    weights, masks = some(tiny_bn, 1)
    saved, saved_masks = copy.deepcopy(weights[0]), copy.deepcopy(masks[0])
    state = Network(tiny_bn).stack(weights * 2, masks * 2, CPU)  # arms that share one ticket
    for value in (*state.params.values(), *state.buffers.values(), *state.masks.values()):
        value[0] = 7
    assert all(torch.equal(weights[0][name], value) for name, value in saved.items())
    assert all(torch.equal(masks[0][name], value) for name, value in saved_masks.items())
    for name, value in {**state.params, **state.buffers}.items():
        assert torch.equal(value[1], saved[name] * saved_masks.get(name, 1))


def test_linear_weights_lie_input_first_in_memory_and_look_like_torchs(tiny):
    weights, masks = some(tiny, 2)
    network = Network(tiny)
    state = network.stack(weights, masks, CPU)
    memory = network.transposed(state.params)
    assert memory["fc.weight"].shape == (2, 16, 12)
    assert memory["fc.weight"].is_contiguous()
    assert state.params["fc.weight"].shape == (2, 12, 16)
    memory["fc.weight"].zero_()
    assert state.params["fc.weight"].count_nonzero() == 0
    assert network.transposed(memory)["fc.weight"].shape == (2, 12, 16)


def test_the_template_takes_nothing_from_the_model(tiny):
    before = copy.deepcopy(tiny.state_dict())
    weights, masks = some(tiny, 2)
    network = Network(tiny)
    state = network.stack(weights, masks, CPU)
    x = torch.randn(5, 1, 4, 4, dtype=torch.float64)
    logits = network(state.params, state.buffers, x, shared=True)
    assert all(torch.equal(value, before[name]) for name, value in tiny.state_dict().items())
    assert type(tiny.fc) is nn.Linear
    nn.init.constant_(tiny.fc.weight, 5)
    assert torch.equal(network(state.params, state.buffers, x, shared=True), logits)


def test_activations_are_counted_of_one_example(tiny, tiny_bn):
    assert max(Network(lenet5((1, 28, 28), 10)).activations((1, 28, 28))) == 64 * 28 * 28
    assert max(Network(tiny_bn).activations((1, 4, 4))) == 4 * 4 * 4
    assert max(Network(tiny).activations((1, 4, 4))) == 16  # the input itself
    sizes = Network(mlp((1, 4, 4), 3, [5], dropout=0.5)).activations((1, 4, 4))
    assert sizes == [16, 16, 5, 5, *[5] * 7, 3]  # a draw makes seven tensors
