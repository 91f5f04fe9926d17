"""Supermasks as a method: what they refuse, and with which probabilities a level begins."""

import pytest
import torch

from ltsweep.errors import UserError
from ltsweep.init import draw, signed_constant
from ltsweep.method import TICKET, Past, Supermask
from ltsweep.prune import layers_of


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"scored_by": "mean"}, r"^method\.scored_by=mean is unknown; choose from threshold, expected$"),
        ({"score": "snip"}, r"^method=supermask learns which weights are used, so it takes no method\.score$"),
        ({"controls": ["reinit"]}, r"^method=supermask learns how many weights remain, .* add method\.controls=\[\]$"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, text):
    with pytest.raises(UserError, match=text):
        Supermask(**fields)


@pytest.mark.parametrize(("method", "share"), [(Supermask(), 0.25), (Supermask(remaining=[0.9, 0.7]), 0.7)])
def test_a_level_begins_with_the_probability_that_pruning_would_leave(tiny, method, share):
    initial = draw(tiny, signed_constant, 0, "init")
    masks = {layer.name: torch.ones(layer.shape) for layer in layers_of(tiny)}
    rates = {"fc.weight": 0.5, "output.weight": 0.0}
    weights, first, held, scores = method.start(TICKET, Past(tiny, signed_constant, 0, 2, initial, masks, rates=rates))
    assert held is None
    assert weights is initial
    assert scores["fc.weight"].sigmoid().unique().tolist() == pytest.approx([share], abs=0.003)
    assert scores["output.weight"].sigmoid().unique().tolist() == [1.0]  # a layer at rate 0 is always used
    assert {name: mask.unique().tolist() for name, mask in first.items()} == {
        "fc.weight": [float(share >= 0.5)],
        "output.weight": [1.0],
    }


def test_how_many_remain_is_learned_and_in_the_records(make_program, make_member, run, tiny):
    """Of each evaluation the count at that moment, and at the end that of the masks that the level leaves."""
    program = make_program(tiny, method=Supermask(), levels=1, steps=12)
    _, done = run(program, [make_member(program, "a", lr=0.3, rates=0.4)]).done.values()
    counts = [row["weights_remaining"] for row in done.evaluations]
    assert counts[0] == 16 * 12 + 36
    assert len(set(counts)) > 2
    assert counts[-1] == sum(int(mask.sum()) for mask in done.learned.values())
    (summary,) = done.summaries
    assert summary["layer_remaining"] == [int(mask.sum()) for mask in done.learned.values()]
    assert summary["weights_remaining"] == counts[-1]
