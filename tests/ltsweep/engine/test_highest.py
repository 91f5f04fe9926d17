"""Masks of the highest scores, against the pruning that removes the lowest."""

import pytest
import torch

from ltsweep.engine.highest import by_partition, by_sorting, keep_highest
from ltsweep.engine.replay import Tape
from ltsweep.prune import keep_budget

SHAPES = {"conv": (4, 2, 3, 3), "fc": (7, 9), "output": (3, 7)}
# A budget a network: others for each, none of a layer, all of a layer.
BUDGETS = [
    {"conv": 36, "fc": 10, "output": 21},
    {"conv": 0, "fc": 62, "output": 1},
    {"conv": 71, "fc": 63, "output": 0},
]


def drawn(kind, seed=0):
    """Return scores and masks of three networks; a linear layer lies in memory as the engine has it."""
    rng = torch.Generator().manual_seed(seed)

    def one(shape):
        laid = (3, *shape[::-1]) if len(shape) == 2 else (3, *shape)
        values = {
            "numbers": lambda: torch.randn(laid, generator=rng),
            "ties": lambda: torch.randint(-2, 3, laid, generator=rng).float(),
            "equal": lambda: torch.full(laid, 0.5),
        }[kind]()
        return values.mT if len(shape) == 2 else values

    scores = {name: one(shape) for name, shape in SHAPES.items()}
    return scores, {name: torch.full_like(value, 0.25) for name, value in scores.items()}


def expected(scores, magnitude, together):
    ranked = {name: value.abs() if magnitude else value for name, value in scores.items()}
    return keep_budget(ranked, {name: torch.ones_like(value) for name, value in scores.items()}, BUDGETS, together)


@pytest.mark.parametrize("way", [by_partition, by_sorting, keep_highest])
@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("magnitude", [False, True])
@pytest.mark.parametrize("kind", ["numbers", "ties", "equal"])
def test_the_highest_stay_as_pruning_has_them(way, together, magnitude, kind):
    """To the position of each tie, with exact counts that differ between the networks of a stack."""
    scores, masks = drawn(kind)
    kept = torch.tensor([[budget[name] for name in scores] for budget in BUDGETS])
    way(list(scores.values()), list(masks.values()), kept, magnitude, together)
    for name, mask in expected(scores, magnitude, together).items():
        assert torch.equal(masks[name], mask)
        if not together:
            assert mask.flatten(1).sum(1).tolist() == kept[:, list(scores).index(name)].tolist()


@pytest.mark.parametrize("way", [by_partition, by_sorting])
@pytest.mark.parametrize("magnitude", [False, True])
def test_counts_are_exact_where_scores_have_diverged(way, magnitude):
    scores, masks = drawn("numbers")
    scores["fc"][1] = torch.nan
    scores["conv"][2, 1] = -torch.inf
    scores["conv"][0, :3] = torch.nan
    kept = torch.tensor([[budget[name] for name in scores] for budget in BUDGETS])
    way(list(scores.values()), list(masks.values()), kept, magnitude, False)
    assert [[int(mask[c].sum()) for mask in masks.values()] for c in range(3)] == kept.tolist()
    assert all(set(mask.unique().tolist()) <= {0, 1} for mask in masks.values())


def test_a_tape_holds_the_choice_as_one_call():
    scores, masks = drawn("numbers")
    kept = torch.tensor([[budget[name] for name in scores] for budget in BUDGETS])
    tape = Tape()
    with tape:
        keep_highest(list(scores.values()), list(masks.values()), kept)
    for name, value in drawn("ties", seed=1)[0].items():
        scores[name].copy_(value)
    tape.replay()
    assert all(torch.equal(masks[name], mask) for name, mask in expected(scores, True, False).items())
