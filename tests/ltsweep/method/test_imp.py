import pytest
import torch

from ltsweep.engine.look import Look
from ltsweep.engine.stack import State
from ltsweep.errors import UserError
from ltsweep.init import draw, xavier_uniform
from ltsweep.method import IMP, TICKET, Arm, Past
from ltsweep.method.imp import SCOPES
from ltsweep.prune import Layer, layers_of

REINIT, RANDOM_MASK = Arm("reinit"), Arm("random_mask")
CONTROLLED = IMP(controls=["reinit", "random_mask"], draws=2)


@pytest.fixture
def ticket(tiny_bn):
    """Return initial weights that are not those of any seed, and masks with 60 % of the weights."""
    rng = torch.Generator().manual_seed(1)
    initial = {n: v + 1 for n, v in draw(tiny_bn, xavier_uniform, 0, "init").items()}
    masks = {layer.name: (torch.rand(layer.shape, generator=rng) < 0.6).float() for layer in layers_of(tiny_bn)}
    return initial, masks


def same(one, other):
    return set(one) == set(other) and all(torch.equal(value, other[name]) for name, value in one.items())


def test_arms_are_the_ticket_and_each_draw_of_each_control_but_for_the_dense_level():
    method = IMP(controls=["random_mask", "reinit"], draws=2)
    assert method.arms(0) == [TICKET]
    expected = [TICKET, Arm("random_mask", 0), Arm("random_mask", 1), Arm("reinit", 0), Arm("reinit", 1)]
    assert method.arms(1) == method.arms(9) == expected
    assert IMP().arms(1) == [TICKET]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"scope": "local"}, r"^method\.scope=local .*layerwise, global, nodes, or .* _target_$"),
        ({"rewind": "late"}, r"^method\.rewind=late .*init, .*500it.*1ep.*weights.*lr.* _target_$"),
        (
            {"controls": ["reinit", "dense"]},
            r"^method\.controls=dense .*reinit, random_mask, .*frozen, twin, or .* _target_$",
        ),
        ({"controls": ["reinit", "reinit"]}, r"^method\.controls=.*twice"),
        ({"controls": ["ticket"]}, r"^method\.controls=ticket .*reinit, random_mask, .*frozen, twin, or .* _target_$"),
        ({"score_level": -1}, r"^method\.score_level=-1 is out of range"),
        ({"remaining": [0.1, 0.5]}, r"^method\.remaining=.* is out of range: .* falling"),
        ({"remaining": []}, r"^method\.remaining=\[\] is out of range"),
        ({"remaining": [1.0]}, r"^method\.remaining=.* is out of range"),
        ({"remaining": [0.5], "scope": "nodes"}, r"^method\.remaining goes with method\.scope=layerwise or global"),
        ({"score": "size"}, r"^method\.score=size .*magnitude, .*snip, grasp, synflow, random, or .* _target_$"),
    ],
)
def test_a_name_that_is_no_choice_is_refused(fields, text):
    with pytest.raises(UserError, match=text):
        IMP(**fields)


def layers(**shapes):
    return [Layer(name, shape, "output" if name == list(shapes)[-1] else "fc") for name, shape in shapes.items()]


def test_global_pruning_takes_one_rate_and_spares_layers_at_zero():
    both = layers(a=(4, 4), b=(4, 4))
    for rates in ({"a": 0.2, "b": 0.2}, {"a": 0.0, "b": 0.2}, {"a": 0.0, "b": 0.0}):
        IMP(scope="global").check(both, rates, 3)
    IMP(scope="layerwise").check(both, {"a": 0.1, "b": 0.2}, 3)
    IMP(scope="global", remaining=[0.5]).check(both, {"a": 0.1, "b": 0.2}, 1)
    with pytest.raises(UserError, match=r"^method\.scope=global .*prune_rate=uniform"):
        IMP(scope="global").check(both, {"a": 0.1, "b": 0.2}, 3)


@pytest.mark.parametrize("scope", ["layerwise", "global", "nodes"])
@pytest.mark.parametrize("rates", [{"a": 0.9, "b": 0.9, "c": 0.9}, {"a": 0.6, "b": 0.6, "c": 0.6}])
def test_more_levels_than_leave_weights_are_refused_at_the_level_that_pruning_empties(scope, rates):
    shapes = {"a": (6, 5), "b": (4, 6), "c": (3, 4)}
    masks = {name: torch.ones(1, *shape) for name, shape in shapes.items()}
    level = 0
    while any(mask.any() for mask in masks.values()):
        level += 1
        masks = SCOPES[scope]({name: torch.rand_like(mask) for name, mask in masks.items()}, masks, [rates])
    given = [*layers(**shapes)[:2], Layer("c", (3, 4), "fc")]
    IMP(scope=scope).check(given, rates, level - 1)
    with pytest.raises(UserError, match=rf"^levels=9: .* from level {level} on, so levels={level - 1} is the most$"):
        IMP(scope=scope).check(given, rates, 9)


def test_nodes_are_no_classes_and_a_ladder_has_a_share_for_each_level():
    both = layers(a=(4, 4), b=(4, 4))
    IMP(scope="nodes").check(both, {"a": 0.1, "b": 0.0}, 3)
    with pytest.raises(UserError, match=r"^method\.scope=nodes .* b .*prune_rate=but_last"):
        IMP(scope="nodes").check(both, {"a": 0.1, "b": 0.1}, 3)
    IMP(remaining=[0.5, 0.1]).check(both, {"a": 0.1, "b": 0.1}, 2)
    with pytest.raises(UserError, match=r"^method\.remaining=.* has 2 shares, and levels=3"):
        IMP(remaining=[0.5, 0.1]).check(both, {"a": 0.1, "b": 0.1}, 3)


def test_the_ticket_starts_from_its_initial_weights(ticket, tiny_bn):
    initial, masks = ticket
    weights, mask = IMP().start(TICKET, Past(tiny_bn, xavier_uniform, 0, 3, initial, masks))
    assert same(weights, initial)
    assert same(mask, masks)


def test_reinit_starts_from_a_fresh_draw_of_the_same_init_under_the_same_mask(ticket, tiny_bn):
    initial, masks = ticket
    weights, mask = CONTROLLED.start(REINIT, Past(tiny_bn, xavier_uniform, 0, 3, initial, masks))
    assert same(mask, masks)
    first = draw(tiny_bn, xavier_uniform, 0, "init")
    for name, value in weights.items():
        assert value.shape == initial[name].shape
        if name in masks:
            fan_out, fan_in = value.flatten(1).shape
            bound = (6 / (fan_in + fan_out * value[0, 0].numel())) ** 0.5
            assert 0.5 * bound < value.abs().max() <= bound
            assert int((value == first[name]).sum()) == 0
        else:
            assert torch.equal(value, first[name])  # zero biases, fresh normalization


def test_random_mask_starts_from_the_tickets_weights_with_as_many_elsewhere(ticket, tiny_bn):
    initial, masks = ticket
    weights, shuffled = CONTROLLED.start(RANDOM_MASK, Past(tiny_bn, xavier_uniform, 0, 3, initial, masks))
    assert same(weights, initial)
    assert set(shuffled) == set(masks)
    for name, mask in masks.items():
        assert shuffled[name].sum() == mask.sum()
        assert set(shuffled[name].unique().tolist()) == {0.0, 1.0}
        assert not torch.equal(shuffled[name], mask)


@pytest.mark.parametrize("arm", ["reinit", "random_mask"])
def test_a_control_is_drawn_anew_for_each_seed_level_and_draw_and_is_reproducible(ticket, tiny_bn, arm):
    def start(seed=0, level=1, number=0):
        weights, masks = CONTROLLED.start(Arm(arm, number), Past(tiny_bn, xavier_uniform, seed, level, *ticket))
        return torch.cat([(weights[n] * masks[n]).flatten() for n in masks])

    assert torch.equal(start(), start())
    drawn = [start(), start(seed=1), start(level=2), start(number=1)]
    for i, one in enumerate(drawn):
        assert not any(torch.equal(one, other) for other in drawn[i + 1 :])


def test_starting_changes_neither_weights_nor_masks(ticket, tiny_bn):
    initial, masks = ticket
    before = [{n: v.clone() for n, v in tensors.items()} for tensors in ticket]
    for arm in (TICKET, REINIT, RANDOM_MASK):
        CONTROLLED.start(arm, Past(tiny_bn, xavier_uniform, 0, 1, initial, masks))
    assert same(initial, before[0])
    assert same(masks, before[1])


@pytest.mark.parametrize(("scope", "left"), [("layerwise", [5, 5]), ("global", [0, 10])])
def test_the_smallest_trained_magnitudes_go(scope, left):
    trained = {
        "a": torch.tensor([[0.1, -0.2, 0.3, -0.4, 0.5, -0.6, 0.7, -0.8, 0.9, -1.0]]),
        "b": torch.tensor([[-2.0, 3.0, -4.0, 5.0, -6.0, 7.0, -8.0, 9.0, -10.0, 11.0]]),
    }
    state = State(trained, {}, {name: torch.ones(1, 10) for name in trained})
    masks = IMP(scope=scope).prune(Look(0, 0, state, []), [{"a": 0.5, "b": 0.5}])
    assert [int(mask.sum()) for mask in masks.values()] == left
    expected = [0.0] * 5 + [1.0] * 5
    if scope == "layerwise":
        assert masks["a"][0].tolist() == masks["b"][0].tolist() == expected
