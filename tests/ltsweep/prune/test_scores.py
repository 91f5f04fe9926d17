"""Scores from the loss and from the flow, against computations that share no code with them."""

import functools

import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from ltsweep.engine.look import Look, Stage
from ltsweep.engine.problem import Draws
from ltsweep.engine.stack import Network
from ltsweep.init import draw, xavier_normal
from ltsweep.method.at_init import AtInit
from ltsweep.prune import grasp, layers_of, magnitude_increase, movement, prune_nodes, snip, synflow, uniform

SEEDS = (3, 4)


def double(tensors):
    return {name: value.double() if value.is_floating_point() else value for name, value in tensors.items()}


@pytest.fixture
def make_look(data):
    """Return a function that looks at two dense networks of a model in float64 at initialization, as a method would."""

    def make(model):
        networks = [double(draw(model, xavier_normal, seed, "init")) for seed in SEEDS]
        masks = [{one.name: torch.ones(one.shape).double() for one in layers_of(model)} for _ in SEEDS]
        network, problem = Network(model), data.map(lambda x: x.double() if x.is_floating_point() else x)
        stage = Stage(network, problem, [Draws(seed, 0, 10, 1) for seed in SEEDS])
        return Look(0, 0, network.stack(networks, masks, torch.device("cpu")), networks, stage)

    return make


def loss_of(model, look, c, temperature=1.0):
    """Return the loss of network c as a plain function of its weights, on the examples of its own cell."""
    problem, draws = look.stage.problem, Draws(SEEDS[c], -1, 10, 1)
    (index,) = next(problem.batches([draws], 30))
    x, y = problem.train_x[index[0]], problem.train_y[index[0]]
    buffers = {name: value[c] for name, value in look.state.buffers.items()}

    def loss(weights):
        everything = {name: value[c] for name, value in look.state.params.items()} | weights
        model.train()
        own = {name: value.clone() for name, value in buffers.items()}
        return cross_entropy(functional_call(model, (everything, own), (x,)) / temperature, y)

    return loss


def weights_of(look, c):
    return {name: look.state.params[name][c].clone() for name in look.state.masks}


@pytest.mark.parametrize("name", ["tiny", "tiny_bn"])
def test_snip_is_the_change_of_the_loss_as_a_weight_is_scaled_away(request, make_look, name):
    model = request.getfixturevalue(name)
    look = make_look(model)
    found = snip(look, examples=30)
    for c in range(2):
        loss, weights, step = loss_of(model, look, c), weights_of(look, c), 1e-6
        total = sum(float(value[c].sum()) for value in found.values())
        assert total == pytest.approx(1)  # normalized in each network
        layer = next(iter(weights))
        slopes = []
        for place in range(weights[layer].numel()):
            sides = []
            for sign in (1, -1):
                moved = {one: value.clone(memory_format=torch.contiguous_format) for one, value in weights.items()}
                moved[layer].view(-1)[place] *= 1 + sign * step
                sides.append(float(loss(moved)))
            slopes.append(abs(sides[0] - sides[1]) / (2 * step))
        slopes, mine = torch.tensor(slopes).double(), found[layer][c].flatten()
        assert torch.allclose(mine / mine.sum(), slopes / slopes.sum(), atol=1e-6)


@pytest.mark.parametrize("name", ["tiny", "tiny_bn"])
def test_grasp_is_the_weight_times_the_hessian_times_the_gradient(request, make_look, name):
    model = request.getfixturevalue(name)
    look = make_look(model)
    found = grasp(look, examples=30)
    for c in range(2):
        loss, weights, step = loss_of(model, look, c, temperature=200.0), weights_of(look, c), 1e-4

        def gradient(at, loss=loss):
            leaves = {one: value.clone().requires_grad_() for one, value in at.items()}
            return dict(zip(leaves, torch.autograd.grad(loss(leaves), list(leaves.values())), strict=True))

        g = gradient(weights)
        ahead = gradient({one: value + step * g[one] for one, value in weights.items()})
        back = gradient({one: value - step * g[one] for one, value in weights.items()})
        for layer, value in weights.items():
            product = (ahead[layer] - back[layer]) / (2 * step)
            scale = float((value * product).abs().max())
            assert torch.allclose(found[layer][c], value * product, atol=1e-4 * scale)


def test_what_grasp_keeps_has_more_gradient_than_what_it_would_keep_with_the_other_sign(make_look, tiny):
    look = make_look(tiny)
    rates = [uniform(layers_of(tiny), 0.8)] * 2

    def norms(score):
        masks = AtInit(score=score).prune(look, rates)
        found = []
        for c in range(2):
            leaves = {name: (value * masks[name][c]).requires_grad_() for name, value in weights_of(look, c).items()}
            gradients = torch.autograd.grad(loss_of(tiny, look, c)(leaves), list(leaves.values()))
            kept = zip(leaves, gradients, strict=True)
            found.append(sum(float((g * masks[name][c]).square().sum()) for name, g in kept))
        return found

    right, wrong = norms(grasp), norms(lambda look: {name: -value for name, value in grasp(look).items()})
    assert all(a > b for a, b in zip(right, wrong, strict=True))


def test_synflow_is_the_product_of_paths_and_is_conserved_by_each_unit(make_look, tiny):
    look = make_look(tiny)
    found = synflow(look)
    for c in range(2):
        first, last = (look.state.params[f"{name}.weight"][c].abs() for name in ("fc", "output"))
        assert torch.allclose(found["fc.weight"][c], first * last.sum(0)[:, None])
        assert torch.allclose(found["output.weight"][c], last * first.sum(1)[None, :])
        assert torch.allclose(found["fc.weight"][c].sum(1), found["output.weight"][c].sum(0))


def test_synflow_empties_no_layer_while_another_can_spare_a_weight(make_look, tiny):
    """Down to two weights, one in each layer and on one path; a single round of the same score empties a layer."""
    look = make_look(tiny)
    rates, share = [uniform(layers_of(tiny), 0.5)] * 2, 2 / (16 * 12 + 12 * 3)
    masks = AtInit(score="synflow", rounds=100, remaining=[share]).prune(look, rates)
    for c in range(2):
        first, last = masks["fc.weight"][c], masks["output.weight"][c]
        assert (int(first.sum()), int(last.sum())) == (1, 1)
        assert torch.equal(first.sum(1) > 0, last.sum(0) > 0)
    once = AtInit(score="magnitude", remaining=[share]).prune(look, rates)
    assert any(int(once[name][c].sum()) == 0 for name in once for c in range(2))


def test_movement_and_increase_are_from_the_start_of_the_level(make_look, tiny):
    look = make_look(tiny)
    moved = {
        name: value * torch.tensor([0.5, -3.0]).view(2, *[1] * (value.dim() - 1)).double()
        for name, value in look.start.items()
    }
    for name, value in moved.items():
        look.state.params[name].copy_(value)
    for name, start in look.start.items():
        assert torch.allclose(movement(look)[name][0], 0.5 * start[0].abs())
        assert torch.allclose(movement(look)[name][1], 4 * start[1].abs())
        assert torch.allclose(magnitude_increase(look)[name][0], -0.5 * start[0].abs())
        assert torch.allclose(magnitude_increase(look)[name][1], 2 * start[1].abs())


def test_nodes_go_whole_by_the_norm_of_their_incoming_weights():
    weights = {"a": torch.tensor([[[3.0, 4.0], [0.0, 6.0], [1.0, 1.0], [9.0, 0.0]]]), "b": torch.ones(1, 2, 4)}
    masks = {name: torch.ones_like(value) for name, value in weights.items()}
    masks["a"][0, 3] = 0  # a unit that has gone already
    pruned = functools.partial(prune_nodes, {name: value.abs() for name, value in weights.items()}, masks)
    assert pruned([{"a": 1 / 3, "b": 0.0}])["a"][0].tolist() == [[1, 1], [1, 1], [0, 0], [0, 0]]
    assert pruned([{"a": 0.67, "b": 0.0}])["a"][0].tolist() == [[0, 0], [1, 1], [0, 0], [0, 0]]
    assert torch.equal(pruned([{"a": 0.67, "b": 0.0}])["b"], masks["b"])
    kernels = torch.rand(1, 4, 2, 3, 3)
    kept = prune_nodes({"c": kernels}, {"c": torch.ones_like(kernels)}, [{"c": 0.5}])["c"]
    stay = kernels.flatten(2).norm(dim=2)[0].argsort()[2:]
    assert sorted(kept[0].flatten(1).sum(1).nonzero().flatten().tolist()) == sorted(stay.tolist())
    assert set(kept[0].flatten(1).sum(1).tolist()) == {0.0, 18.0}
