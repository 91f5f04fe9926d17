import math
from decimal import ROUND_HALF_EVEN, Decimal
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ltsweep.engine.look import Look
from ltsweep.engine.stack import State
from ltsweep.models import lenet5, lenet_300_100
from ltsweep.prune import (
    but_embeddings,
    by_type,
    count,
    half_output,
    layers_of,
    magnitude,
    prune_global,
    prune_layerwise,
    remove_lowest,
    shuffle,
    uniform,
)


def written(rate, surviving):
    """Return round-half-even(rate x surviving) in decimal arithmetic."""
    return int((Decimal(str(rate)) * surviving).to_integral_value(ROUND_HALF_EVEN))


def kept(scores, mask, gone):
    """Return the mask without its `gone` lowest-scored survivors, by a plain sort of (score, position)."""
    survivors = sorted((score, i) for i, (score, keep) in enumerate(zip(scores, mask, strict=True)) if keep)
    lost = {i for _, i in survivors[:gone]}
    return [float(keep and i not in lost) for i, keep in enumerate(mask)]


# Few values, so that nearly every draw has ties; both signs, and zeros of both.
VALUES = st.sampled_from([-2.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 2.0]) | st.floats(-3, 3, width=32)
RATES = st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.5, 0.9]) | st.floats(0, 0.999)
SHAPES = st.sampled_from([(1, 1), (3, 4), (5, 1), (2, 3, 2, 2), (25, 1), (7, 5)])


@st.composite
def layer(draw, networks, shape=None):
    """Draw the weights and the mask of a layer for so many networks, masked weights being zero."""
    shape = shape or draw(SHAPES)
    size = networks * math.prod(shape)
    weight = torch.tensor(draw(st.lists(VALUES, min_size=size, max_size=size))).view(networks, *shape)
    mask = torch.tensor(draw(st.lists(st.sampled_from([0.0, 1.0, 1.0]), min_size=size, max_size=size)))
    return weight * mask.view_as(weight), mask.view_as(weight)


@st.composite
def stack(draw):
    """Draw weights, masks and rates of up to three networks of up to three layers."""
    networks = draw(st.integers(1, 3))
    drawn = {f"layer{i}": draw(layer(networks)) for i in range(draw(st.integers(1, 3)))}
    rates = [{name: draw(RATES) for name in drawn} for _ in range(networks)]
    return {n: w for n, (w, _) in drawn.items()}, {n: m for n, (_, m) in drawn.items()}, rates


def scored(weights):
    return magnitude(Look(0, 0, State(weights, {}, weights), []))


@pytest.mark.parametrize(
    ("rate", "surviving", "removed"),
    [
        (0.1, 25, 2),  # 2.5 goes down to even
        (0.1, 35, 4),  # 3.5 goes up to even
        (0.07, 150, 10),  # 10.5, which binary arithmetic makes 10.500000000000002
        (0.575, 100, 58),  # 57.5, which binary arithmetic makes 57.49999999999999
        (0.1, 5, 0),
        (0.1, 15, 2),
        (0.3, 5, 2),
        (0.05, 30, 2),
        (0.15, 10, 2),
        (0.2, 235200, 47040),
        (0.0, 1000, 0),
        (0, 1000, 0),
        (0.2, 0, 0),
        (0.2, 2, 0),
        (0.2, 3, 1),
        (0.999, 1, 1),
    ],
)
def test_count_rounds_half_to_even_of_the_rate_as_written(rate, surviving, removed):
    assert count(rate, surviving) == removed == written(rate, surviving)


@given(rate=st.floats(0, 1, exclude_max=True), surviving=st.integers(0, 3_000_000))
def test_count_equals_decimal_arithmetic(rate, surviving):
    assert count(rate, surviving) == written(rate, surviving)


def test_count_equals_decimal_arithmetic_for_every_rate_of_two_decimals():
    for percent in range(100):
        for surviving in range(200):
            assert count(percent / 100, surviving) == written(percent / 100, surviving)


def test_half_of_a_rate_is_rounded_as_written_too():
    layers = layers_of(lenet_300_100((1, 28, 28), 10))
    halves = [half_output(layers, value)["output.weight"] for value in (0.1, 0.2, 0.3, 0.7)]
    assert halves == [0.05, 0.1, 0.15, 0.35]
    assert [count(half, 10) for half in halves] == [0, 1, 2, 4]  # 0.5, 1, 1.5, 3.5


def test_ties_go_by_position():
    mask = remove_lowest(torch.full((1, 10), 0.5), torch.ones(1, 10), [4])
    assert mask.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1, 1, 1]]


def test_ties_at_the_cut_go_by_position_among_the_tied_alone():
    scores = torch.tensor([[3.0, 1.0, 2.0, 1.0, 1.0, 0.5]])
    assert remove_lowest(scores, torch.ones(1, 6), [3]).tolist() == [[1, 0, 1, 0, 1, 0]]


def test_infinities_are_ordered_and_nan_goes_last():
    """A diverged network is pruned along with its stack: its counts are exact, whatever its scores are."""
    inf, nan = math.inf, math.nan
    scores = torch.tensor([[nan, 1.0, -inf, inf, nan, 2.0], [nan] * 6])
    masks = torch.ones(2, 6)
    assert remove_lowest(scores, masks, [3, 2]).tolist() == [[1, 0, 0, 1, 1, 0], [0, 0, 1, 1, 1, 1]]
    assert remove_lowest(scores, masks, [5, 6]).sum(1).tolist() == [1, 0]
    masks[0, 0] = 0  # a NaN that is masked is not there
    assert remove_lowest(scores, masks, [4, 0]).tolist() == [[0, 0, 0, 0, 1, 0], [1] * 6]


def test_a_masked_weight_is_not_counted_and_does_not_return():
    scores, mask = torch.tensor([[0.0, 5.0, 0.0, 4.0, 3.0]]), torch.tensor([[0.0, 1.0, 0.0, 1.0, 1.0]])
    assert remove_lowest(scores, mask, [1]).tolist() == [[0, 1, 0, 1, 0]]
    assert remove_lowest(scores, mask, [3]).tolist() == [[0, 0, 0, 0, 0]]


@given(stack())
@settings(max_examples=100)
def test_layerwise_equals_a_plain_sort_of_each_layer(drawn):
    weights, masks, rates = drawn
    pruned = prune_layerwise(scored(weights), masks, rates)
    for name, mask in masks.items():
        for c, rate in enumerate(rates):
            before = mask[c].flatten().tolist()
            scores = [abs(value) for value in weights[name][c].flatten().tolist()]
            after = pruned[name][c].flatten().tolist()
            assert after == kept(scores, before, written(rate[name], int(sum(before))))
            assert sum(before) - sum(after) == written(rate[name], int(sum(before)))
            assert all(old >= new for old, new in zip(before, after, strict=True))


@given(stack(), st.data())
@settings(max_examples=100)
def test_global_equals_a_plain_sort_of_all_pruned_layers_together(drawn, data):
    weights, masks, rates = drawn
    names = data.draw(st.lists(st.sampled_from(sorted(masks)), unique=True, min_size=1), label="pruned layers")
    shares = [data.draw(RATES, label="rate") for _ in rates]
    rates = [{name: share if name in names else 0.0 for name in masks} for share in shares]
    pruned = prune_global(scored(weights), masks, rates)
    for c, share in enumerate(shares):
        in_order = [name for name in masks if name in names]
        before = [bit for name in in_order for bit in masks[name][c].flatten().tolist()]
        scores = [abs(value) for name in in_order for value in weights[name][c].flatten().tolist()]
        after = [bit for name in in_order for bit in pruned[name][c].flatten().tolist()]
        assert after == kept(scores, before, written(share, int(sum(before))))
        for name in set(masks) - set(names):
            assert torch.equal(pruned[name][c], masks[name][c])


@given(stack())
def test_nothing_is_edited_in_place_and_nothing_aliases(drawn):
    weights, masks, rates = drawn
    before = {n: (w.clone(), masks[n].clone()) for n, w in weights.items()}
    scores = scored(weights)
    for prune in (prune_layerwise, prune_global):
        one_rate = [dict.fromkeys(masks, 0.5) for _ in rates]
        pruned = prune(scores, masks, one_rate)
        for name, (weight, mask) in before.items():
            pruned[name].fill_(7)
            assert torch.equal(weights[name], weight)
            assert torch.equal(masks[name], mask)
            assert torch.equal(scores[name], weight.abs())


@given(st.data())
@settings(max_examples=20)
def test_masks_are_nested_and_counts_exact_over_many_levels(data):
    networks = data.draw(st.integers(1, 3))
    rates = [{"w": data.draw(RATES)} for _ in range(networks)]
    masks = {"w": torch.ones(networks, 7, 5)}
    surviving = [35] * networks
    for _ in range(6):
        weight, _ = data.draw(layer(networks, (7, 5)))
        pruned = prune_layerwise(scored({"w": weight * masks["w"]}), masks, rates)
        assert not bool((pruned["w"] > masks["w"]).any())
        surviving = [n - written(rate["w"], n) for n, rate in zip(surviving, rates, strict=True)]
        assert pruned["w"].flatten(1).sum(1).tolist() == surviving
        masks = pruned


def test_networks_of_a_stack_are_pruned_as_if_alone():
    rng = torch.Generator().manual_seed(0)
    scores = {"a": torch.rand(4, 6, 5, generator=rng), "b": torch.rand(4, 3, 6, generator=rng)}
    masks = {name: (torch.rand(s.shape, generator=rng) < 0.8).float() for name, s in scores.items()}
    for prune, rates in (
        (prune_layerwise, [{"a": 0.1 * i, "b": 0.5 - 0.1 * i} for i in range(4)]),
        (prune_global, [{"a": 0.1 + 0.2 * i, "b": 0.1 + 0.2 * i} for i in range(4)]),
    ):
        together = prune(scores, masks, rates)
        for c in range(4):
            alone = prune(
                {n: s[c : c + 1] for n, s in scores.items()}, {n: m[c : c + 1] for n, m in masks.items()}, [rates[c]]
            )
            for name in masks:
                assert torch.equal(together[name][c], alone[name][0])


def test_global_networks_that_spare_different_layers_are_pruned_as_if_alone():
    """Cells of one stack may differ in their rates, so also in which layers have a rate of 0."""
    scores = {"conv": torch.arange(1.0, 11).repeat(2, 1), "fc": torch.arange(11.0, 21).repeat(2, 1)}
    masks = {name: torch.ones_like(score) for name, score in scores.items()}
    rates = [{"conv": 0.5, "fc": 0.5}, {"conv": 0.0, "fc": 0.5}]
    pruned = prune_global(scores, masks, rates)
    assert [int(pruned[name][0].sum()) for name in ("conv", "fc")] == [0, 10]
    assert [int(pruned[name][1].sum()) for name in ("conv", "fc")] == [10, 5]


def test_global_and_layerwise_differ_where_layers_have_different_scales():
    scores = {"small": torch.full((1, 10), 0.1), "large": torch.full((1, 10), 1.0)}
    masks = {name: torch.ones(1, 10) for name in scores}
    rates = [{"small": 0.4, "large": 0.4}]
    assert [int(m.sum()) for m in prune_layerwise(scores, masks, rates).values()] == [6, 6]
    assert [int(m.sum()) for m in prune_global(scores, masks, rates).values()] == [2, 10]


def test_global_with_every_rate_zero_removes_nothing():
    masks = {"a": torch.tensor([[1.0, 0.0, 1.0]])}
    assert torch.equal(prune_global({"a": torch.rand(1, 3)}, masks, [{"a": 0.0}])["a"], masks["a"])


@given(layer(1), st.integers(0, 2**32))
def test_shuffle_keeps_the_count_and_the_shape(drawn, seed):
    mask = drawn[1]
    before = mask.clone()
    shuffled = shuffle(mask, torch.Generator().manual_seed(seed))
    assert shuffled.shape == mask.shape
    assert sorted(shuffled.flatten().tolist()) == sorted(mask.flatten().tolist())
    assert torch.equal(mask, before)


def test_shuffle_is_uniform_over_positions():
    mask = (torch.arange(20) < 5).float()
    rng = torch.Generator().manual_seed(0)
    hits = torch.stack([shuffle(mask, rng) for _ in range(4000)]).sum(0)
    # binomial(4000, 1/4): 1000 +- 27.4 each
    assert (hits - 1000).abs().max() < 5 * 27.4
    assert hits.sum() == 20000


def test_layers_are_the_weights_of_two_or_more_dimensions(tiny_bn):
    found = [(layer.name, layer.shape, layer.kind) for layer in layers_of(tiny_bn)]
    assert found == [
        ("conv1.weight", (4, 1, 3, 3), "conv"),
        ("conv2.weight", (5, 4, 3, 3), "conv"),
        ("output.weight", (3, 20), "output"),
    ]


def test_rates_of_every_kind():
    layers = layers_of(lenet5((1, 28, 28), 10))
    names = ["conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight", "output.weight"]
    assert [layer.name for layer in layers] == names
    assert uniform(layers, 0.3) == dict.fromkeys(names, 0.3)
    assert half_output(layers, 0.2) == dict(zip(names, [0.2, 0.2, 0.2, 0.2, 0.1], strict=True))
    rates = by_type(layers, 0.9, conv=0.1, fc=0.2, output=0.05)
    assert rates == dict(zip(names, [0.1, 0.1, 0.2, 0.2, 0.05], strict=True))


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        (partial(by_type, value=0.9, conv=0.1, fc=0.2, output=0.05), [0.2, 0.2, 0.05]),
        (partial(by_type, value=0.9, conv=0.1, fc=0.2, output=0.05, embedding=0.0), [0.0, 0.2, 0.05]),
        (partial(but_embeddings, value=0.3), [0.0, 0.3, 0.3]),
    ],
)
def test_an_embedding_is_a_kind_of_its_own(rates, expected):
    layers = layers_of(nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 5), nn.Linear(5, 7)))
    assert [layer.kind for layer in layers] == ["embedding", "fc", "output"]
    assert list(rates(layers).values()) == expected


def test_prunable_weights_of_the_published_networks():
    sizes = [math.prod(layer.shape) for layer in layers_of(lenet_300_100((1, 28, 28), 10))]
    assert sizes == [235_200, 30_000, 1_000]
    assert sum(sizes) == 266_200
    layers = layers_of(lenet5((1, 28, 28), 10))
    assert sum(math.prod(layer.shape) for layer in layers) == 3_316_800
    assert sum(math.prod(layer.shape) for layer in layers if layer.kind == "conv") == 37_440


def test_remaining_weights_of_lenet_300_100_are_those_of_the_paper():
    layers = layers_of(lenet_300_100((1, 28, 28), 10))
    rng = torch.Generator().manual_seed(0)
    weights = {layer.name: torch.randn(1, *layer.shape, generator=rng) for layer in layers}
    masks = {layer.name: torch.ones(1, *layer.shape) for layer in layers}
    rates = half_output(layers, 0.2)
    table, exact = {}, {layer.name: math.prod(layer.shape) for layer in layers}
    for level in range(1, 19):
        masks = prune_layerwise(scored(weights), masks, [rates])
        exact = {name: n - written(rates[name], n) for name, n in exact.items()}
        assert {name: int(mask.sum()) for name, mask in masks.items()} == exact
        table[level] = f"{100 * sum(exact.values()) / 266_200:.2f}"
    expected = {1: "80.04", 2: "64.06", 3: "51.28", 6: "26.32", 7: "21.07", 9: "13.52", 12: "6.95", 15: "3.58"}
    expected |= {16: "2.87", 18: "1.85"}
    assert {level: table[level] for level in expected} == expected
