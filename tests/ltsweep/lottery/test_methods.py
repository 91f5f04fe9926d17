"""Every method with every kind of network: exact counts, masked weights, resuming, and the size of the stack."""

import dataclasses
import functools
import itertools
import math

import pytest
import torch

from ltsweep.errors import UserError
from ltsweep.lottery import level as level_module
from ltsweep.lottery.loop import run_levels
from ltsweep.lottery.program import Checkpoint, LevelDone
from ltsweep.method import IMP, TICKET, AtInit, EdgePopup, Supermask
from ltsweep.method.axes import Length
from ltsweep.models.dropout import Dropout
from ltsweep.prune import compounded

EVERY = ["reinit", "random_mask", "random_ticket", "shuffle", "sign_constant", "frozen", "twin"]
METHODS = {
    "imp": IMP(),
    "imp_global": IMP(scope="global"),
    "movement": IMP(score="movement"),
    "increase": IMP(score="magnitude_increase"),
    "random_score": IMP(score="random"),
    "one_shot": IMP(score_level=0),
    "one_shot_global": IMP(score_level=0, scope="global", controls=["reinit"]),
    "ladder": IMP(score_level=0, remaining=[0.5, 0.1]),
    "late": IMP(rewind="2it"),
    "late_epoch": IMP(rewind="1ep", controls=["random_mask"]),
    "fine_tuning": IMP(rewind="weights"),
    "learning_rate": IMP(rewind="lr"),
    "controls": IMP(controls=EVERY),
    "late_controls": IMP(rewind="2it", score_level=0, controls=EVERY, draws=2),
    "snip": AtInit(score="snip"),
    "grasp": AtInit(score="grasp"),
    "synflow": AtInit(score="synflow", rounds=10),
    "erk": AtInit(score="random", scope="erk", controls=["shuffle"]),
    "snip_layerwise": AtInit(score="snip", scope="layerwise", remaining=[0.3, 0.05]),
    "edge_popup": EdgePopup(
        score_init="constant", scale=True, controls=["reinit", "random_mask", "sign_constant", "twin"]
    ),
    "edge_popup_global": EdgePopup(scope="global", begin="before", rank="value", remaining=[0.3, 0.05]),
    "supermask": Supermask(scored_by="expected", keep_last=True, remaining=[0.7, 0.2]),
}
STEPS = 5


@pytest.fixture(params=METHODS)
def method(request):
    return METHODS[request.param]


@pytest.fixture(params=["tiny", "tiny_bn", "tiny_noisy"])
def model(request):
    return request.getfixturevalue(request.param)


def examples_for(model, data):
    """Return the examples as they are; for the network with dropout augmented ones with smoothed labels."""
    noisy = any(isinstance(module, Dropout) for module in model.modules())
    return dataclasses.replace(data, augment=["crop", "flip"], label_smoothing=0.1) if noisy else data


@pytest.fixture
def together(make_program, make_member, data):
    """Return a function from a method and a model to a program and three cells that differ in all they may."""

    def make(method, model, **changes):
        made = {"method": method, "levels": 2, "steps": STEPS, "problem": examples_for(model, data)}
        program = make_program(model, **made | changes)
        members = [
            make_member(program, "a", seed=0, lr=0.03, rates=0.4),
            make_member(program, "b", seed=1, lr=0.03, rates=0.4),
            make_member(program, "c", seed=0, lr=0.01, rates=0.6),
        ]
        return program, members

    return make


def expected(method, program, member, level):
    """Return the weights of each layer that a level has left, and whether only their sum is known."""
    sizes = {layer.name: math.prod(layer.shape) for layer in program.layers}
    if getattr(method, "remaining", None) and level:
        return {name: round(method.remaining[level - 1] * n) for name, n in sizes.items()}
    return compounded(sizes, member.rates, level)


def masks_of(done):
    """Return the masks that a finished level has left: of the next level, or of its own."""
    return done.next_masks or done.learned or {}


def same_masks(one, other):
    assert masks_of(one).keys() == masks_of(other).keys()
    return all(torch.equal(masks_of(one)[name], mask) for name, mask in masks_of(other).items())


def test_counts_are_exact_and_masked_weights_stay_as_they_are_after_every_step(method, model, together, monkeypatch):
    program, members = together(method, model)
    seen, train = [], level_module.train

    def checked(network, trained, state, *rest):
        for step, optimizer in train(network, trained, state, *rest):
            for name, mask in state.masks.items():
                masked = state.used[name] * (1 - mask)
                assert torch.equal(masked, state.held.get(name, torch.zeros_like(masked)))
            seen.append((step, {name: mask.clone() for name, mask in state.masks.items()}))
            yield step, optimizer

    monkeypatch.setattr(level_module, "train", checked)
    done = [event for event in run_levels(program, members, 0) if isinstance(event, LevelDone)]
    assert not any(event.diverged for event in done)
    assert {(event.key, event.level) for event in done} == set(itertools.product("abc", range(3)))
    for event in done:
        member = next(member for member in members if member.key == event.key)
        left = expected(method, program, member, event.level)
        for summary in event.summaries:
            found = dict(zip(summary["layers"], summary["layer_remaining"], strict=True))
            if isinstance(method, Supermask):  # it learns how many
                masks = event.learned or event.next_masks or {name: torch.ones(n) for name, n in left.items()}
                assert found == {name: int(mask.sum()) for name, mask in masks.items()}
                assert {row["weights_remaining"] for row in event.evaluations[-1:]} == {sum(found.values())}
            elif method.scope in ("global", "erk"):
                assert abs(sum(found.values()) - sum(left.values())) <= (2 if isinstance(method, IMP) else 0)
            else:
                assert found == left
        first = method.first(event.level, program.length)
        assert {row["iteration"] for row in event.evaluations} == {first, 3, STEPS}
        assert [(row["arm"], row["draw"]) for row in event.summaries] == [
            (arm.name, arm.draw) for arm in method.arms(event.level)
        ]


def test_a_run_that_stops_anywhere_goes_on_to_the_same_bits(method, model, together):
    program, members = together(method, model, checkpoint_every=0.0)
    whole, stops = [], []
    for event in run_levels(program, members, 0):
        if isinstance(event, LevelDone):
            whole.append(event)
        if isinstance(event, Checkpoint):
            tables = {
                key: dataclasses.replace(table, evaluations=list(table.evaluations), readings=[], kept=dict(table.kept))
                for key, table in event.tables.items()
            }
            tensors = {name: value.clone() for name, value in event.tensors.items()}
            stops.append(dataclasses.replace(event, tables=tables, tensors=tensors))
    assert {stop.level for stop in stops} == {0, 1, 2}
    masks = {(event.key, event.level + 1): event.next_masks for event in whole if event.next_masks}
    masks |= {(event.key, event.level): event.learned for event in whole if event.learned}
    kept = {(event.key, event.level, step): weights for event in whole for step, weights in event.kept.items()}
    back = [
        dataclasses.replace(
            member,
            recorded=lambda level, key=member.key: masks.get((key, level)),
            kept=lambda level, step, key=member.key: kept[key, level, step],
        )
        for member in members
    ]
    for stop in stops[1::4]:
        again = [e for e in run_levels(program, back, stop.level, stop) if isinstance(e, LevelDone)]
        assert [(e.key, e.level) for e in again] == [(e.key, e.level) for e in whole if e.level >= stop.level]
        for one, other in zip(again, [e for e in whole if e.level >= stop.level], strict=True):
            assert [{**row, "seconds": 0} for row in one.evaluations] == [
                {**row, "seconds": 0} for row in other.evaluations
            ]
            assert same_masks(one, other)
            assert one.kept.keys() == other.kept.keys()
            for step, weights in other.kept.items():
                assert all(torch.equal(one.kept[step][name], value) for name, value in weights.items())


def test_a_cell_alone_is_the_cell_of_a_stack(method, model, together, data):
    double = examples_for(model, data).map(lambda t: t.double() if t.is_floating_point() else t)
    drawn = [name for name in method.controls if name not in ("reinit", "random_ticket")]  # these are float32
    program, members = together(dataclasses.replace(method, controls=drawn), model.double(), problem=double)
    members = [
        dataclasses.replace(m, initial={n: v.double() if v.is_floating_point() else v for n, v in m.initial.items()})
        for m in members
    ]
    stack = {(e.key, e.level): e for e in run_levels(program, members, 0) if isinstance(e, LevelDone)}
    for member in members:
        for alone in (e for e in run_levels(program, [member], 0) if isinstance(e, LevelDone)):
            other = stack[alone.key, alone.level]
            assert same_masks(alone, other)
            for one, two in zip(alone.evaluations, other.evaluations, strict=True):
                assert one["test_loss"] == pytest.approx(two["test_loss"], rel=1e-7)


@pytest.mark.parametrize("rewind", ["2it", "1ep", "weights", "lr"])
def test_later_levels_start_where_the_rewinding_says(rewind, together, watched, tiny_bn):
    program, (one, *_) = together(IMP(rewind=rewind), tiny_bn)
    at = {"2it": 2, "1ep": 3, "weights": 0, "lr": 0}[rewind]
    schedule = []
    one = dataclasses.replace(one, schedule=lambda step, steps: schedule.append(step) or 0.03 / (step + 1))
    done = {e.level: e for e in run_levels(program, [one], 0) if isinstance(e, LevelDone)}
    for level in (1, 2):
        source = done[0 if at else level - 1].kept[at or STEPS]
        for name, value in {**watched[level].params, **watched[level].buffers}.items():
            assert torch.equal(value[0], source[name] * watched[level].masks.get(name, torch.ones(1))[0])
        last = {row["iteration"]: row for row in done[level].evaluations}[STEPS]
        assert last["lr"] == pytest.approx(0.03 / STEPS)
        rates = [row["lr"] for row in done[level].evaluations]
        assert rates[0] is None
        if rewind == "weights":
            assert all(rate == pytest.approx(0.03 / STEPS) for rate in rates[1:])
    # The weights kept at a step of the dense network are those of a run that ends there.
    if at:
        short, (same, *_) = together(IMP(), tiny_bn)
        ends = dataclasses.replace(short, steps=at, levels=0, method=IMP(score_level=0))
        same = dataclasses.replace(same, schedule=lambda step, steps: 0.03 / (step + 1))
        (dense,) = (e for e in run_levels(ends, [same], 0) if isinstance(e, LevelDone))
        assert all(torch.equal(dense.kept[at][name], value) for name, value in done[0].kept[at].items())


def test_batches_go_on_from_the_rewound_step(together, tiny, monkeypatch):
    train, taken = level_module.train, {}

    def noted(network, trained, state, problem, batches, *rest):
        mine = taken.setdefault(rewind, [])
        return train(network, trained, state, problem, (mine.append(b[0].clone()) or b for b in batches), *rest)

    monkeypatch.setattr(level_module, "train", noted)
    for rewind in ("init", "2it"):
        program, members = together(IMP(rewind=rewind), tiny)
        list(run_levels(program, members, 0))
    plain, late = taken["init"], taken["2it"]
    assert (len(plain), len(late)) == (3 * STEPS, 3 * STEPS - 4)
    same = [*plain[:STEPS], *plain[STEPS + 2 : 2 * STEPS], *plain[2 * STEPS + 2 :]]
    assert all(torch.equal(a, b) for a, b in zip(same, late, strict=True))


def test_one_shot_has_the_masks_of_the_dense_network_in_the_counts_of_iterative_pruning(together, watched, tiny):
    program, members = together(IMP(score_level=0), tiny)
    done = {(e.key, e.level): e for e in run_levels(program, members, 0) if isinstance(e, LevelDone)}
    for c, member in enumerate(sorted(members, key=lambda member: member.group)):  # as the stack has them
        for level in range(3):
            left = expected(program.method, program, member, level + 1)
            for name, mask in done[member.key, level].next_masks.items():
                trained = watched[0].trained[name][c].flatten().abs()
                stay = trained.argsort(stable=True)[trained.numel() - left[name] :]
                assert set(mask.flatten().nonzero().flatten().tolist()) == set(stay.tolist())


def test_pruning_at_initialization_never_looks_at_trained_weights(together, tiny):
    for name in ("snip", "grasp", "synflow", "erk"):
        program, members = together(METHODS[name], tiny)
        masks = []
        for steps in (0, STEPS):
            longer = dataclasses.replace(program, steps=steps)
            done = [e for e in run_levels(longer, members, 0) if isinstance(e, LevelDone)]
            masks.append({(e.key, e.level): e.next_masks for e in done})
        for at, each in masks[0].items():
            assert all(torch.equal(masks[1][at][name], mask) for name, mask in each.items())


def test_a_step_that_no_level_has_is_refused():
    with pytest.raises(UserError, match=r"^method\.rewind=3ep is iteration 30, and a level has 20$"):
        IMP(rewind="3ep").check_length(Length(20, 10))
    IMP(rewind="2ep").check_length(Length(20, 10))
    IMP(rewind="20it").check_length(Length(20, 10))


# -- controls


@pytest.fixture
def started(together, tiny_bn):
    """Return a function from a control to what the ticket and the control start level 2 from."""
    program, (one, *_) = together(IMP(controls=EVERY), tiny_bn)
    done = {e.level: e for e in run_levels(program, [one], 0) if isinstance(e, LevelDone)}
    past = one.past(program, 2, done[1].next_masks)
    arms = {arm.name: arm for arm in program.method.arms(2)}
    start = functools.partial(program.method.start, past=past)
    return lambda name: (start(TICKET), start(arms[name]))


def test_shuffle_keeps_the_values_of_each_layer_at_the_places_of_the_mask(started):
    (weights, masks), (shuffled, same) = started("shuffle")
    for name, value in weights.items():
        if name not in masks:
            assert torch.equal(shuffled[name], value)
            continue
        assert torch.equal(same[name], masks[name])
        on = masks[name] > 0
        assert torch.equal(shuffled[name][on].sort().values, value[on].sort().values)
        assert not torch.equal(shuffled[name][on], value[on])


def test_sign_constant_keeps_the_signs_with_one_magnitude_a_layer(started):
    (weights, masks), (constant, same) = started("sign_constant")
    for name, mask in masks.items():
        assert torch.equal(same[name], mask)
        assert torch.equal(constant[name].sign(), weights[name].sign())
        (magnitude,) = constant[name].abs().unique().tolist()
        assert magnitude == pytest.approx(float(weights[name].pow(2).mean().sqrt()))


def test_random_ticket_shares_nothing_but_the_counts(started):
    (weights, masks), (other, shuffled) = started("random_ticket")
    for name, mask in masks.items():
        assert shuffled[name].sum() == mask.sum()
        assert not torch.equal(shuffled[name], mask)
        assert not (other[name] == weights[name]).any()


def test_a_twin_starts_as_the_ticket_and_sees_its_batches_in_another_order(started, together, watched, tiny):
    (weights, masks), (same, mask) = started("twin")
    assert all(same[name] is value for name, value in weights.items())
    assert all(mask[name] is value for name, value in masks.items())
    watched.clear()
    for controls in ([], ["reinit", "twin"], ["twin"]):
        program, (one, *_) = together(IMP(controls=controls, draws=2 if "twin" in controls else 1), tiny)
        list(run_levels(program, [one], 0))
    plain, twins, other = watched[:3], watched[3:6], watched[6:]
    assert [level.params["fc.weight"].shape[0] for level in twins] == [3, 5, 5]  # a dense network has twins too
    for level, (alone, beside, again) in enumerate(zip(plain, twins, other, strict=True)):
        for step, batch in enumerate(beside.batches):
            assert all(torch.equal(row, alone.batches[step][0]) for row in batch[: 1 if level == 0 else 3])
            first, second = batch[-2:]
            assert not torch.equal(first, second)
            assert not torch.equal(first, batch[0])
            assert torch.equal(batch[-2:], again.batches[step][-2:])  # whatever other controls there are
        held_out = set(beside.held_out[0].nonzero().flatten().tolist())
        assert not held_out & set(torch.cat([batch[-1] for batch in beside.batches]).tolist())


def test_frozen_weights_are_the_initial_ones_where_the_ticket_has_zeros(started):
    (weights, masks), (same, mask, held) = started("frozen")
    for name, value in masks.items():
        assert torch.equal(mask[name], value)
        assert torch.equal(held[name] + same[name] * value, weights[name])
