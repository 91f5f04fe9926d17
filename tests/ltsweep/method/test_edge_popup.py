"""Edge-popup as a method: what it refuses, from which scores and weights a level starts, and what it trains."""

import dataclasses
import functools
import math

import pytest
import torch

from ltsweep.engine.stack import Network
from ltsweep.engine.trained import MaskedWeights, TrainedScores
from ltsweep.errors import UserError
from ltsweep.init import draw, kaiming_normal, signed_constant
from ltsweep.measure.connectivity import Connectivity
from ltsweep.measure.gradients import Gradients
from ltsweep.measure.lengths import Lengths
from ltsweep.measure.weights import Weights
from ltsweep.method import TICKET, Arm, EdgePopup, Past
from ltsweep.prune import Layer, layers_of

RATES = {"fc.weight": 0.5, "output.weight": 0.0}


@pytest.fixture
def past(tiny):
    """Return a function from a level to what it may start from; kept scores are all 3."""

    def at(level, init=kaiming_normal):
        initial = draw(tiny, init, 0, "init")
        masks = {layer.name: torch.ones(layer.shape) for layer in layers_of(tiny)}
        kept = {**initial, **{f"scores/{name}": torch.full_like(mask, 3.0) for name, mask in masks.items()}}
        return Past(tiny, init, 0, level, initial, masks, kept=lambda *_: kept, rates=RATES)

    return at


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"score_init": "normal"}, r"^method\.score_init=normal is unknown; choose from kaiming_uniform, signed_like_"),
        ({"rank": "abs"}, r"^method\.rank=abs is unknown; choose from magnitude, value$"),
        ({"scope": "erk"}, r"^method\.scope=erk is unknown; choose from layerwise, global$"),
        ({"begin": "late"}, r"^method\.begin=late is unknown; choose from anew, before$"),
        ({"score": "snip"}, r"^method=edge_popup learns which weights are used, so it takes no method\.score$"),
        (
            {"controls": ["frozen"]},
            r"^method\.controls=\['frozen'\]: .* never move; of controls it takes reinit, random_",
        ),
        ({"scope": "global", "scale": True}, r"^method\.scope=global learns the share of each layer, which differs"),
        (
            {"scope": "global", "controls": ["twin"]},
            r"^method\.scope=global .* neither method\.scale nor method\.contro",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(fields, text):
    with pytest.raises(UserError, match=text):
        EdgePopup(**fields)


def test_a_weight_of_one_dimension_has_no_scores():
    with pytest.raises(
        UserError, match=r"^method=edge_popup draws scores as weights are drawn, and bn\.weight has one"
    ):
        EdgePopup().check([Layer("bn.weight", (4,), "fc")], {"bn.weight": 0.5}, 1)


def test_the_dense_network_is_trained_as_ever_and_later_levels_train_scores(past, tiny):
    assert len(EdgePopup(scale=True).start(TICKET, past(0))) == 2
    network = Network(tiny)
    assert isinstance(EdgePopup().trained(network, 0, [RATES]), MaskedWeights)
    assert isinstance(EdgePopup().trained(network, 1, [RATES]), TrainedScores)


@pytest.mark.parametrize("rank", ["magnitude", "value"])
@pytest.mark.parametrize("score_init", ["kaiming_uniform", "signed_like_weight", "constant"])
def test_a_level_starts_with_the_masks_of_its_first_scores(past, score_init, rank):
    method = EdgePopup(score_init=score_init, rank=rank)
    weights, masks, held, scores = method.start(TICKET, past(2))
    again = method.start(TICKET, past(1))[3]
    assert held is None
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {"fc.weight": 48, "output.weight": 36}
    for name, score in scores.items():
        assert torch.equal(score, again[name])  # a ladder of shares differs in nothing else
        bound = 1 / math.sqrt(score.shape[1])
        assert 0.9 * bound < score.abs().max() <= bound * (1 + 1e-6)
        if score_init == "signed_like_weight":
            assert torch.equal(score.sign(), weights[name].sign())
        if score_init == "constant":
            assert score.unique().numel() == 1
    value = scores["fc.weight"].abs() if rank == "magnitude" else scores["fc.weight"]
    assert value[masks["fc.weight"] == 1].min() >= value[masks["fc.weight"] == 0].max()
    initial = past(2).initial
    assert weights.keys() == initial.keys()
    assert all(torch.equal(weights[name], value) for name, value in initial.items())


def test_a_level_may_go_on_from_the_scores_of_the_one_before(past):
    method = EdgePopup(begin="before")
    assert method.start(TICKET, past(2))[3]["fc.weight"].unique().tolist() == [3]
    assert method.start(TICKET, past(1))[3]["fc.weight"].unique().numel() > 100
    length = dataclasses.replace(past(1), masks={}).length
    assert [list(method.keep(level, length)) for level in (0, 1)] == [[], [length.steps]]
    assert list(EdgePopup().keep(1, length)) == []
    assert list(EdgePopup(keep_last=True).keep(1, length)) == [length.steps]


def test_weights_are_scaled_by_the_root_of_all_over_used(past):
    weights, masks, _, _ = EdgePopup(scale=True).start(TICKET, past(2))
    initial = past(2).initial
    torch.testing.assert_close(weights["fc.weight"], 2 * initial["fc.weight"])
    assert torch.equal(weights["output.weight"], initial["output.weight"])  # it stays whole
    assert torch.equal(weights["fc.bias"], initial["fc.bias"])
    assert int(masks["fc.weight"].sum()) == 48


def test_controls_have_other_weights_and_scores_of_their_own(past):
    method = EdgePopup(controls=["reinit", "sign_constant", "twin"], score_init="signed_like_weight")
    ticket, reinit, constant, twin = (method.start(arm, past(1)) for arm in method.arms(1))
    assert method.arms(1) == [TICKET, Arm("reinit"), Arm("sign_constant"), Arm("twin")]
    assert not torch.equal(reinit[0]["fc.weight"], ticket[0]["fc.weight"])
    assert torch.equal(reinit[3]["fc.weight"].sign(), reinit[0]["fc.weight"].sign())
    assert constant[0]["fc.weight"].abs().unique().numel() == 1
    assert torch.equal(twin[3]["fc.weight"], ticket[3]["fc.weight"])
    assert [int(start[1]["fc.weight"].sum()) for start in (reinit, constant, twin)] == [96] * 3


@pytest.mark.parametrize(("optimizer", "lr"), [(torch.optim.Adam, 0.01), (torch.optim.SGD, 1.0)])
def test_a_random_mask_stays_as_it_is_over_weights_that_nothing_trains(
    make_program, make_member, run, tiny, optimizer, lr
):
    """Beside a ticket that learns; its scores in the records are those before the first step, at every evaluation."""
    method = EdgePopup(controls=["random_mask", "random_ticket"], rank="value")
    make = functools.partial(optimizer, fused=True)
    program = make_program(tiny, method=method, levels=1, make_optimizer=make, clip=1.0)
    _, done = run(program, [make_member(program, "a", lr=lr, rates=0.5, weight_decay=0.1)]).done.values()
    for arm in ("random_mask", "random_ticket"):
        rows = [row for row in done.evaluations if row["arm"] == arm]
        assert len({row["test_loss"] for row in rows}) == 1
        assert len(rows) > 2
    assert len({row["test_loss"] for row in done.evaluations if row["arm"] == "ticket"}) > 1
    assert {tuple(row["layer_remaining"]) for row in done.summaries} == {(96, 18)}


def test_signed_constants_have_the_signs_of_the_normal_draw(tiny):
    one, other = (draw(tiny, init, 3, "init")["fc.weight"] for init in (signed_constant, kaiming_normal))
    assert torch.equal(one.sign(), other.sign())


def test_the_line_to_a_twin_is_between_the_weights_that_are_used(make_program, make_member, run, tiny):
    """Its ends are the ticket and the twin as they were scored, whose frozen weights are equal, and masks are not."""
    method, measured = EdgePopup(controls=["twin"]), {"connectivity": Connectivity(), "weights": Weights()}
    program = make_program(tiny, method=method, levels=1, steps=20, measurements=measured)
    _, done = run(program, [make_member(program, "a", lr=0.1, rates=0.5)]).done.values()
    error = {row["arm"]: pytest.approx(1 - row["final_test_accuracy"]) for row in done.summaries}
    ends = {row["at"]: row["value"] for row in done.readings if row["name"] == "test_error"}
    assert (ends[0.0], ends[1.0]) == (error["ticket"], error["twin"])
    assert {row["value"] for row in done.readings if row["name"] == "distance"} == {0}


def test_measurements_see_the_weights_that_are_used(make_program, make_member, run, tiny):
    """As of a network whose other weights are zero, and not of all that were drawn."""
    compared = []

    def compare(look):
        plain = dataclasses.replace(look, state=dataclasses.replace(look.state, params=look.state.used, scores={}))
        for measurement in (Lengths(examples=8), Gradients(examples=8)):
            for one, other in zip(measurement(look), measurement(plain), strict=True):
                torch.testing.assert_close(one.values, other.values, equal_nan=True)
                compared.append(one.name)
        return ()

    program = make_program(tiny, method=EdgePopup(), levels=1, steps=3, measurements={"compare": compare})
    run(program, [make_member(program, "a", rates=0.5)])
    assert {"length", "gradient"} <= set(compared)
