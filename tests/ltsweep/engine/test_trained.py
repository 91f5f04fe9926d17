"""Scores that are trained over weights that never move, against the formula, at every step."""

import functools

import pytest
import torch
from torch import nn

from ltsweep.data import Examples
from ltsweep.engine import train as train_module
from ltsweep.engine.problem import Draws
from ltsweep.engine.stack import Network
from ltsweep.engine.train import Group, scored, snapshot, train
from ltsweep.engine.trained import TrainedScores
from ltsweep.init import draw, kaiming_normal
from ltsweep.optim import constant

CPU = torch.device("cpu")
BUDGETS = [{"fc.weight": 96, "output.weight": 36}, {"fc.weight": 40, "output.weight": 9}]


def ranked(scores, budgets, magnitude):
    """Return the masks of the highest scores, name -> (C, *shape), by sorting."""
    masks = {}
    for name, score in scores.items():
        values = (score.abs() if magnitude else score).flatten(1)
        masks[name] = torch.zeros_like(values)
        for c, budget in enumerate(budgets):
            masks[name][c, values[c].argsort(stable=True)[values.shape[1] - budget[name] :]] = 1
        masks[name] = masks[name].view_as(score)
    return masks


@pytest.fixture
def popup(make_data, tiny):
    """Return a function that makes two networks with the scores of a stack, their data and how they are trained."""

    def make(model=tiny, budgets=BUDGETS, magnitude=True, precision="float32", dtype=torch.float32):
        initial = [{n: v.to(dtype) for n, v in draw(model, kaiming_normal, seed, "init").items()} for seed in (0, 1)]
        rng = torch.Generator().manual_seed(5)
        scores = [{n: torch.randn(one[n].shape, generator=rng, dtype=dtype) / 4 for n in budgets[0]} for one in initial]
        together = {n: torch.stack([one[n] for one in scores]) for n in budgets[0]}
        masks = ranked(together, budgets, magnitude)
        network = Network(model, precision)
        each = [{n: mask[c] for n, mask in masks.items()} for c in range(2)]
        state = network.stack(initial, each, CPU, scores=scores)
        data = make_data().map(lambda t: t.to(dtype) if t.is_floating_point() else t)
        return network, TrainedScores(network, budgets, magnitude=magnitude), state, data

    return make


def trained(network, how, state, data, steps, make=None, rate=0.1, start=0, saved=None, clip=None):
    """Yield after each step, as `train` does."""
    batches = data.batches([Draws(seed, 1, 0, 1) for seed in (0, 1)], 16)
    for _ in range(start):
        next(batches)
    make = make or functools.partial(torch.optim.Adam, fused=True)
    groups = [Group(slice(0, 2), functools.partial(constant, value=rate), {"weight_decay": 1e-3})]
    return train(network, how, state, data, batches, make, groups, steps, start, saved, clip)


def copies(tensors):
    return {name: value.clone() for name, value in tensors.items()}


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("magnitude", [False, True])
def test_a_step_is_the_formula_by_hand(popup, tiny, magnitude):
    """A score of two layers goes down by lr * dL/dI_v * w_uv * Z_u, u -> v (Ramanujan et al. 2020, eq. 3)."""
    tiny.act = nn.ReLU()
    network, how, state, data = popup(tiny, magnitude=magnitude, dtype=torch.float64)
    scores, masks, (index,) = copies(state.scores), copies(state.masks), next(data.batches([Draws(0, 1, 0, 1)] * 2, 16))
    sgd = functools.partial(torch.optim.SGD, fused=True)
    draws = iter([(index,)])
    group = Group(slice(0, 2), functools.partial(constant, value=0.3), {})
    next(train(network, how, state, data, draws, sgd, [group], 1))
    for c in range(2):
        weight = {name: state.params[name][c] for name in scores}
        used = {name: weight[name] * masks[name][c] for name in scores}
        z_0, y = data.train_x[index[c]].flatten(1), data.train_y[index[c]]  # (B, 16), (B,)
        i_1 = z_0 @ used["fc.weight"].T
        z_1 = i_1.clamp(min=0)
        i_2 = z_1 @ used["output.weight"].T
        d_2 = (i_2.softmax(1) - nn.functional.one_hot(y, 3)) / len(y)  # dL/dI of the output layer, (B, 3)
        d_1 = (d_2 @ used["output.weight"]) * (i_1 > 0)
        for name, d, z in (("fc.weight", d_1, z_0), ("output.weight", d_2, z_1)):
            gradient = torch.einsum("bv,bu->vu", d, z) * weight[name]
            if magnitude:  # dL/d|s|, and |s| grows with s or against it
                gradient = gradient * scores[name][c].sign()
            torch.testing.assert_close(state.scores[name][c], scores[name][c] - 0.3 * gradient, rtol=1e-9, atol=1e-12)
    assert same(state.masks, ranked(state.scores, BUDGETS, magnitude))
    assert not same(state.masks, masks)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_at_every_step_the_weights_are_as_drawn_and_the_masks_those_of_the_scores(popup, monkeypatch, precision):
    """Exactly as many as each network's budget says; replayed and as written to the bit; what is scored is used."""
    ended = []
    for way in (train_module.replayed, train_module.as_written):
        monkeypatch.setattr(train_module, "replayed", way)
        network, how, state, data = popup(precision=precision)
        drawn = copies(state.params)
        for _ in trained(network, how, state, data, 12):
            assert same(state.params, drawn)
            assert same(state.masks, ranked(state.scores, BUDGETS, True))
            for name, mask in state.masks.items():
                assert mask.flatten(1).sum(1).tolist() == [budget[name] for budget in BUDGETS]
        assert same(scored(network, how, state).weights, state.used)
        assert not any(torch.equal(state.used[name][1], drawn[name][1]) for name in BUDGETS[0])
        ended.append(copies(state.scores))
    assert same(*ended)


def test_a_snapshot_is_gone_on_from_to_the_bit(popup):
    network, how, state, data = popup()
    for step, optimizer in trained(network, how, state, data, 9):
        if step == 5:
            saved = copies(snapshot(network, state, optimizer))
    network, how, again, data = popup()
    for _ in trained(network, how, again, data, 9, start=5, saved=saved):
        pass
    assert same(again.scores, state.scores)
    assert same(again.masks, state.masks)


def test_a_layer_that_stays_whole_does_not_count_in_the_norm(popup):
    """Two steps of gradient descent, one of them bounded: the ratio is that of the norm of the other layer's."""
    whole = [{"fc.weight": 192, "output.weight": 18}] * 2
    moved = {}
    for clip in (None, 1e-3):
        network, how, state, data = popup(budgets=whole)
        before = copies(state.scores)
        make = functools.partial(torch.optim.SGD, fused=True)
        batches = data.batches([Draws(0, 1, 0, 1)] * 2, 16)
        group = Group(slice(0, 2), functools.partial(constant, value=1.0), {})
        next(train(network, how, state, data, batches, make, [group], 1, 0, None, clip))
        moved[clip] = {name: before[name] - value for name, value in state.scores.items()}
    for c in range(2):
        norm = moved[None]["output.weight"][c].norm()
        assert moved[1e-3]["output.weight"][c].norm() == pytest.approx(1e-3, rel=1e-3)
        torch.testing.assert_close(
            moved[1e-3]["fc.weight"][c], moved[None]["fc.weight"][c] * 1e-3 / norm, rtol=1e-2, atol=1e-7
        )


def test_what_is_used_is_the_weights_under_their_masks(popup):
    _, _, state, data = popup()
    assert isinstance(data, Examples)
    for name, value in state.used.items():
        assert torch.equal(value, state.params[name] * state.masks[name] if name in state.masks else state.params[name])
    every = state.every(2)
    assert torch.equal(every.scores["fc.weight"], state.scores["fc.weight"][:1])
