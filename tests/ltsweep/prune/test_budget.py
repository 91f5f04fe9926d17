import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ltsweep.models import lenet_300_100
from ltsweep.prune import between, compounded, erdos_renyi_kernel, half_output, keep_budget, layers_of, share_of

SHAPES = {"conv": (8, 3, 3, 3), "fc": (40, 128), "narrow": (5, 2), "output": (10, 40)}
SIZES = {name: math.prod(shape) for name, shape in SHAPES.items()}


def test_so_many_prunings_leave_the_papers_share():
    """Weights remaining that Frankle & Carbin 2019 state for LeNet-300-100, from exact arithmetic of their rates."""
    layers = layers_of(lenet_300_100((1, 28, 28), 10))
    sizes = {layer.name: math.prod(layer.shape) for layer in layers}
    for times, percent in (
        (1, 80.04),
        (2, 64.06),
        (3, 51.28),
        (6, 26.32),
        (7, 21.07),
        (9, 13.52),
        (15, 3.58),
        (18, 1.85),
    ):
        left = compounded(sizes, half_output(layers, 0.2), times)
        assert round(100 * sum(left.values()) / 266_200, 2) == percent
    assert compounded(sizes, half_output(layers, 0.2), 0) == sizes


def test_a_share_is_of_each_layer_and_spares_those_at_rate_zero():
    rates = {"conv": 0.1, "fc": 0.2, "narrow": 0.0, "output": 0.1}
    assert share_of(SIZES, rates, 0.1) == {"conv": 22, "fc": 512, "narrow": 10, "output": 40}


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.02, 0.001])
def test_erdos_renyi_kernel_densities(share):
    """Against the definition: densities in proportion to (sum of the shape) / (its product), but none above 1."""
    total = round(share * sum(SIZES.values()))
    budget = share_of(SIZES, dict.fromkeys(SIZES, 0.5), share)
    budget["fc"] += total - sum(budget.values())
    kept = erdos_renyi_kernel(SHAPES, budget)
    assert sum(kept.values()) == total
    raw = {name: Fraction(sum(shape), math.prod(shape)) for name, shape in SHAPES.items()}
    whole = {name for name in SIZES if kept[name] == SIZES[name]}
    open_ = [name for name in SIZES if name not in whole]
    left = total - sum(SIZES[name] for name in whole)
    factor = Fraction(left) / sum(raw[name] * SIZES[name] for name in open_) if open_ else Fraction(0)
    for name in open_:
        assert abs(kept[name] - factor * raw[name] * SIZES[name]) < 1
    assert all(factor * raw[name] >= 1 or math.isclose(factor * raw[name], 1, rel_tol=0.1) for name in whole)


def test_a_layer_that_is_whole_stays_so_under_erdos_renyi_kernel():
    budget = {"conv": 216, "fc": 100, "narrow": 2, "output": 30}
    kept = erdos_renyi_kernel(SHAPES, budget)
    assert kept["conv"] == 216
    assert sum(kept.values()) == sum(budget.values())


@given(size=st.integers(1, 10_000), data=st.data())
def test_the_schedule_falls_to_its_end(size, data):
    kept = data.draw(st.integers(0, size))
    steps = [between(size, kept, number / 100) for number in range(101)]
    assert steps[-1] == kept
    assert all(b <= a for a, b in itertools.pairwise(steps))
    if kept:
        assert steps[0] == size
        assert abs(steps[50] - math.sqrt(size * kept)) <= 0.5


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("share", [0.5, 0.02, 0.001])
def test_the_highest_scores_stay_in_exact_numbers(together, share):
    sizes, rng = SIZES, torch.Generator().manual_seed(0)
    scores = {name: torch.randint(0, 50, (2, *shape), generator=rng).float() for name, shape in SHAPES.items()}
    masks = {name: torch.ones_like(score) for name, score in scores.items()}
    spared = "conv"
    budgets = [
        share_of(sizes, dict.fromkeys(sizes, 0.5), share),
        share_of(sizes, dict.fromkeys(sizes, 0.5) | {spared: 0}, share),
    ]
    kept = keep_budget(scores, masks, budgets, together)
    for c, budget in enumerate(budgets):
        found = {name: int(mask[c].sum()) for name, mask in kept.items()}
        assert sum(found.values()) == sum(budget.values())
        if not together:
            assert found == budget
        ranked = [name for name in sizes if budget[name] < sizes[name]]
        for names in [[name] for name in ranked] if not together else [ranked]:
            flat = [(float(v), i) for i, v in enumerate(torch.cat([scores[name][c].flatten() for name in names]))]
            stay = {i for _, i in sorted(flat)[len(flat) - sum(budget[name] for name in names) :]}
            mask = torch.cat([kept[name][c].flatten() for name in names])
            assert set(mask.nonzero().flatten().tolist()) == stay
    if together:
        assert int(kept[spared][1].sum()) == sizes[spared]
