"""A level of a network that ends when its score is there, beside others that go on, through a kill, and as if alone."""

import copy
import dataclasses

import pytest
import torch

from ltsweep.errors import UserError
from ltsweep.lottery.loop import run_levels
from ltsweep.lottery.program import Checkpoint, LevelDone
from ltsweep.lottery.stop import AtAccuracy
from ltsweep.measure.weights import Weights
from ltsweep.method import IMP, EdgePopup

STEPS = 12


@pytest.fixture
def made(make_program, make_member):
    """Return a function: fields of a program -> it, scored at every step, and three cells of other learning rates."""

    def made(**fields):
        every = {"levels": 1, "steps": STEPS, "evaluate_every": 1, "method": IMP(controls=["reinit"])}
        program = make_program(**every | fields)
        rates = {"a": 1e-5, "b": 0.01, "c": 0.02}
        return program, [make_member(program, key, seed=3, lr=lr) for key, lr in rates.items()]

    return made


def rows_of(done, key, level, arm):
    return [
        {n: v for n, v in row.items() if n != "seconds"} for row in done[key, level].evaluations if row["arm"] == arm
    ]


STOP = AtAccuracy(0.8)


def test_rows_end_where_the_score_is_there_and_the_others_go_on_to_the_bit(made, run):
    """At level 0, from which all start alike."""
    whole, early = (run(*made(stop=stop)).done for stop in (None, STOP))
    steps = {}
    for key in "abc":
        expected = rows_of(whole, key, 0, "ticket")
        there = next((row["iteration"] for row in expected if row["test_accuracy"] >= 0.8), STEPS)
        assert rows_of(early, key, 0, "ticket") == expected[: there + 1]
        steps[key] = early[key, 0].summaries[0]["iterations"]
        assert steps[key] == there
    assert steps["a"] == STEPS  # censored: never there
    assert 0 < steps["c"] < steps["b"] < STEPS


def test_the_next_level_prunes_the_weights_that_were_there(made, run):
    """As a level of so many steps leaves them."""
    early = run(*made(stop=STOP)).done
    steps = early["c", 0].summaries[0]["iterations"]
    short = run(*made(steps=steps)).done
    for name, mask in short["c", 0].next_masks.items():
        assert torch.equal(mask, early["c", 0].next_masks[name])
    longer = run(*made()).done
    assert any(
        not torch.equal(mask, early["c", 0].next_masks[name]) for name, mask in longer["c", 0].next_masks.items()
    )


def test_each_arm_ends_by_itself_and_the_level_when_all_have(made, run, watched):
    program, members = made(stop=STOP)
    done = run(program, members[2:]).done
    ends = {arm: rows_of(done, "c", 1, arm)[-1] for arm in ("ticket", "reinit")}
    assert all(row["test_accuracy"] >= 0.8 for row in ends.values())
    assert ends["ticket"]["iteration"] != ends["reinit"]["iteration"]
    assert len(watched[1].batches) <= max(row["iteration"] for row in ends.values()) + 1 < STEPS  # one is drawn ahead


def test_readings_end_with_the_rows_and_are_of_the_weights_there(made, run):
    early = run(*made(stop=STOP, measurements={"weights": Weights(moments=["end"])})).done
    steps = early["c", 0].summaries[0]["iterations"]
    short = run(*made(steps=steps, measurements={"weights": Weights(moments=["end"])})).done
    assert early["c", 0].readings == short["c", 0].readings
    assert {row["iteration"] for row in early["c", 0].readings} == {steps}


def test_going_on_from_any_step_is_never_having_stopped(made):
    program, members = made(stop=STOP, checkpoint_every=0.0, measurements={"weights": Weights(moments=["end"])})
    events = [copy.deepcopy(event) for event in run_levels(program, members, 0)]
    whole = [event for event in events if isinstance(event, LevelDone)]
    masks = {(done.key, done.level + 1): done.next_masks for done in whole}
    checkpoints = [event for event in events if isinstance(event, Checkpoint)]
    assert any(name.startswith("ended/") for checkpoint in checkpoints for name in checkpoint.tensors)
    for checkpoint in checkpoints[::3]:
        level = checkpoint.level
        resumed = [dataclasses.replace(m, recorded={level: masks.get((m.key, level))}.get) for m in members]
        rest = [e for e in run_levels(program, resumed, level, checkpoint) if isinstance(e, LevelDone)]
        for one, other in zip(rest, [done for done in whole if done.level >= level], strict=True):
            assert (one.key, one.level) == (other.key, other.level)
            for a, b in zip(one.evaluations, other.evaluations, strict=True):
                assert {n: v for n, v in a.items() if n != "seconds"} == {n: v for n, v in b.items() if n != "seconds"}
            assert one.readings == other.readings
            for name, mask in (other.next_masks or {}).items():
                assert torch.equal(mask, one.next_masks[name])


def test_weights_that_a_method_keeps_after_the_end_are_those_of_the_end(made, run):
    program, members = made(stop=STOP, method=IMP(rewind="11it"))
    done = run(program, members).done
    steps = done["c", 0].summaries[0]["iterations"]
    there = run(*made(method=IMP(rewind=f"{steps}it"))).done
    assert steps < 11
    for name, value in there["c", 0].kept[steps].items():
        assert torch.equal(value, done["c", 0].kept[11][name])


def test_masks_that_a_level_learned_are_those_of_the_end(made, run):
    method = EdgePopup(keep_last=True)
    early = run(*made(stop=AtAccuracy(0.43), method=method)).done
    ends = {key: early[key, 1].summaries[0]["iterations"] for key in "abc"}
    (key, steps) = min(ends.items(), key=lambda end: end[1])
    assert 0 < steps < max(ends.values())  # the level went on for the others
    there = run(*made(steps=steps, method=method)).done
    for name, mask in there[key, 1].learned.items():
        assert torch.equal(mask, early[key, 1].learned[name])
    for name, value in there[key, 1].kept[steps].items():
        assert torch.equal(value, early[key, 1].kept[STEPS][name])
    assert any(name.startswith("scores/") for name in there[key, 1].kept[steps])


def test_a_loss_is_there_where_it_is_low_and_a_score_that_was_not_taken_is_not():
    stop = AtAccuracy(0.5, "val_loss")
    assert [stop({"val_loss": [0.6, 0.5, float("nan")]}, c) for c in range(3)] == [False, True, False]
    assert not stop({"test_loss": [0.1]}, 0)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ((1.01,), r"stop\.threshold=1\.01 cannot be reached: test_accuracy is a number from 0 to 1"),
        ((0.5, "accuracy"), r"stop\.score=accuracy is unknown; it is train_, val_ or test_ and a score"),
    ],
)
def test_a_threshold_that_cannot_be_reached_is_refused(fields, text):
    with pytest.raises(UserError, match=f"^{text}"):
        AtAccuracy(*fields)


def test_a_score_whose_other_end_is_better_is_refused():
    better = {"train_loss": "lower", "test_loss": "lower", "test_error": "lower", "test_return": "higher"}
    AtAccuracy(-100.0, "test_return").check(1, True, better)
    AtAccuracy(0.1, "test_loss").check(1, True, better)
    with pytest.raises(UserError, match=r"^stop\.score=test_error: only a loss is there when it is low"):
        AtAccuracy(0.1, "test_error").check(1, True, better)
