import copy
import dataclasses
import functools
import itertools
import math
from types import SimpleNamespace

import pytest
import torch

from ltsweep.data import Dataset, Examples
from ltsweep.engine.problem import Draws, Score
from ltsweep.engine.stack import Forward, Network
from ltsweep.errors import BrokenFileError
from ltsweep.init import draw, kaiming_uniform, xavier_normal, xavier_uniform
from ltsweep.lottery import level as level_module
from ltsweep.lottery.loop import run_levels
from ltsweep.lottery.program import Checkpoint, LevelDone, Progress
from ltsweep.method import IMP
from ltsweep.models import mlp
from ltsweep.optim import cosine
from ltsweep.prune import count, layers_of
from ltsweep.schema import EVALUATIONS_FILE, LEVELS_FILE, columns_of
from ltsweep.store.tables import as_parquet, read

SPLITS = ("train", "val", "test")
CONTROLS = IMP(controls=["reinit", "random_mask"], draws=2)
ARMS = [("ticket", 0), ("reinit", 0), ("reinit", 1), ("random_mask", 0), ("random_mask", 1)]


def double(program, members):
    """Return both in float64, where two orders of summation differ by little."""
    data = program.problem.map(lambda t: t.double() if t.is_floating_point() else t)

    def up(tensors):
        return {name: value.double() if value.is_floating_point() else value for name, value in tensors.items()}

    lifted = [dataclasses.replace(m, initial=up(m.initial)) for m in members]
    return dataclasses.replace(program, problem=data), lifted


def four(program, make_member):
    """Return four cells that differ in all that a stack allows."""
    return [
        make_member(program, "a", seed=0, init=xavier_normal, lr=0.01, rates=0.2),
        make_member(program, "b", seed=1, init=xavier_uniform, lr=0.03, rates=0.3),
        make_member(program, "c", seed=2, init=kaiming_uniform, lr=0.01, rates=0.1, weight_decay=0.01),
        make_member(program, "d", seed=0, init=kaiming_uniform, lr=0.002, rates=0.5),
    ]


def dataset_with(data, **parts):
    return Dataset(*(parts.get(name, getattr(data, name)) for name in ("train_x", "train_y", "test_x", "test_y")))


# -- the loop: rewind, prune, controls


def test_every_level_starts_from_the_initial_weights_and_buffers_bit_for_bit(
    make_program, make_member, run, watched, tiny_bn
):
    program = make_program(tiny_bn, levels=3)
    members = [make_member(program, "a", lr=0.05), make_member(program, "b", seed=1, lr=0.05)]
    saved = [{n: v.clone() for n, v in member.initial.items()} for member in members]
    run(program, members)
    assert len(watched) == 4
    for level in watched:
        for c in range(2):
            for name, value in {**level.params, **level.buffers}.items():
                mask = level.masks[name][c] if name in level.masks else 1
                assert torch.equal(value[c], saved[c][name] * mask)
            assert not torch.equal(level.trained["conv1.weight"][c], level.params["conv1.weight"][c])
            assert all(torch.equal(members[c].initial[name], value) for name, value in saved[c].items())


def test_masks_are_nested_with_exact_counts_a_layer(make_program, make_member, run, watched, tiny_bn):
    program = make_program(tiny_bn, levels=5, steps=3)
    rates = {"conv1.weight": 0.1, "conv2.weight": 0.3, "output.weight": 0.05}
    done = run(program, [make_member(program, "a", rates=rates), make_member(program, "b", seed=1, rates=0.5)]).done
    for key, shares in (("a", rates), ("b", dict.fromkeys(rates, 0.5))):
        left = {"conv1.weight": 36, "conv2.weight": 180, "output.weight": 60}
        previous = None
        for level in range(6):
            (summary,) = done[key, level].summaries
            assert dict(zip(summary["layers"], summary["layer_remaining"], strict=True)) == left
            assert dict(zip(summary["layers"], summary["layer_total"], strict=True)) == {
                "conv1.weight": 36,
                "conv2.weight": 180,
                "output.weight": 60,
            }
            assert summary["weights_remaining"] == sum(left.values())
            assert summary["weights_total"] == 276
            for row in done[key, level].evaluations:
                assert (row["weights_remaining"], row["weights_total"]) == (sum(left.values()), 276)
            masks = {name: mask["ab".index(key)] for name, mask in watched[level].masks.items()}
            assert {name: int(mask.sum()) for name, mask in masks.items()} == left
            if previous is not None:
                assert all(bool((masks[name] <= previous[name]).all()) for name in masks)
            previous = masks
            left = {name: n - count(shares[name], n) for name, n in left.items()}


def test_next_masks_drop_the_smallest_trained_weights(make_program, make_member, run, watched):
    program = make_program()
    done = run(program, [make_member(program, "a", lr=0.05)]).done
    for level in (0, 1):
        for name, mask in done["a", level].next_masks.items():
            trained, before = watched[level].trained[name][0], watched[level].masks[name][0]
            survivors = trained[before == 1].abs()
            cut = survivors.sort().values[count(0.2, len(survivors)) - 1]
            assert torch.equal(mask, ((trained.abs() > cut) & (before == 1)).float())
            assert torch.equal(mask, watched[level + 1].masks[name][0])
            # an initial weight would have chosen otherwise
            assert not torch.equal(mask, ((watched[0].params[name][0].abs() > cut) & (before == 1)).float())
    assert set(done["a", 2].next_masks) == set(done["a", 1].next_masks)  # from which a longer run goes on


def test_global_scope_prunes_all_layers_together(make_program, make_member, run, watched):
    program = make_program(method=IMP(scope="global"), levels=3)
    done = run(program, [make_member(program, "a", rates=0.3)]).done
    left, shares = 16 * 12 + 12 * 3, set()
    for level in range(4):
        (summary,) = done["a", level].summaries
        assert summary["weights_remaining"] == left
        shares.add(summary["layer_remaining"][0] / 192 - summary["layer_remaining"][1] / 36)
        left -= count(0.3, left)
    assert len(shares) == 4  # the layers do not lose equal shares


def test_controls_are_absent_at_level_0_and_share_the_tickets_counts_in_every_layer(
    make_program, make_member, run, watched
):
    program = make_program(method=CONTROLS)
    done = run(program, [make_member(program, "a"), make_member(program, "b", seed=1, rates=0.4)]).done
    for key in "ab":
        assert [(s["arm"], s["draw"]) for s in done[key, 0].summaries] == ARMS[:1]
        for level in (1, 2):
            summaries = done[key, level].summaries
            assert [(s["arm"], s["draw"]) for s in summaries] == ARMS
            assert all(s["layer_remaining"] == summaries[0]["layer_remaining"] for s in summaries)
            assert all(s["weights_remaining"] == sum(s["layer_remaining"]) for s in summaries)
            evaluations = done[key, level].evaluations
            assert {(r["arm"], r["draw"]) for r in evaluations} == set(ARMS)
    for level in watched[1:]:
        for mask in level.masks.values():
            counts = mask.flatten(1).sum(1)
            for cell in (0, 5):
                assert (counts[cell : cell + 5] == counts[cell]).all()
                for reinit in (cell + 1, cell + 2):
                    assert torch.equal(mask[reinit], mask[cell])
        # where the weights sit and what they are
        weight, mask = level.params["fc.weight"], level.masks["fc.weight"]
        initial = draw(program.model, xavier_normal, 0, "init")["fc.weight"]
        assert torch.equal(weight[0], initial * mask[0])
        assert torch.equal(weight[3], initial * mask[3])
        assert not torch.equal(mask[3], mask[0])
        assert not torch.equal(mask[3], mask[4])
        assert not bool(((weight[1] == weight[0]) & (mask[0] == 1)).any())
        assert not bool(((weight[1] == weight[2]) & (mask[0] == 1)).any())


def test_controls_do_not_choose_the_next_mask(make_program, make_member, run):
    plain = make_program(levels=3)
    program, members = double(plain, four(plain, make_member))
    controlled = dataclasses.replace(program, method=IMP(controls=["random_mask"], draws=2))
    alone, beside = run(program, members).done, run(controlled, members).done
    for key in "abcd":
        for level in range(3):
            for name, mask in alone[key, level].next_masks.items():
                assert torch.equal(mask, beside[key, level].next_masks[name])


@dataclasses.dataclass(frozen=True)
class SameStart(IMP):
    """Controls that start from exactly what the ticket starts from."""

    def start(self, arm, past):
        return past.initial, past.masks


def test_a_control_with_the_tickets_start_has_the_tickets_trajectory(make_program, make_member, run):
    program = make_program(method=SameStart(controls=["reinit"], draws=2), steps=9)
    done = run(program, [make_member(program, "a", lr=0.03), make_member(program, "b", seed=1)]).done
    for key in "ab":
        rows = done[key, 2].evaluations
        assert len(rows) == 12
        for i in range(0, 12, 3):
            for name in ("train_loss", "val_loss", "test_loss"):
                assert rows[i + 1][name] == rows[i + 2][name] == pytest.approx(rows[i][name], rel=1e-5)
        losses = [row["train_loss"] for row in rows[::3]]
        assert losses == sorted(losses, reverse=True)


# -- batches, validation, rates


def test_arms_of_a_cell_share_its_batches_and_every_example_is_seen_once_an_epoch(
    make_program, make_member, run, watched
):
    program = make_program(method=CONTROLS, steps=6)
    run(program, [make_member(program, "a"), make_member(program, "b", seed=1)])
    orders = []
    for level, arms in zip(watched, (1, 5, 5), strict=True):
        assert [index.shape[1] for index in level.batches] == [16, 16, 8] * 2
        assert level.held_out.shape == (2 * arms, 50)
        assert level.held_out.sum(1).tolist() == [10] * 2 * arms
        for epoch in (level.batches[:3], level.batches[3:]):
            seen = torch.cat(epoch, dim=1)
            for c in range(2 * arms):
                assert torch.equal(seen[c], seen[c // arms * arms])
                assert sorted(seen[c].tolist()) == (~level.held_out[c]).nonzero().flatten().tolist()
            orders.append(seen[[0, arms]])
    # an order for each epoch, level and cell, and one validation split a cell
    assert len({tuple(row.tolist()) for order in orders for row in order}) == 12
    splits = [{tuple(row.tolist()) for row in level.held_out} for level in watched]
    assert len(splits[0]) == 2
    assert splits[0] == splits[1] == splits[2]


def test_without_validation_everything_is_trained_on_and_choices_are_null(make_program, make_member, run, watched):
    program = make_program(validation=0, steps=8, steps_per_epoch=4, evaluate_every=4)
    done = run(program, [make_member(program, "a")]).done
    assert sorted(torch.cat(watched[0].batches[:4], dim=1)[0].tolist()) == list(range(50))
    for level in range(3):
        (summary,) = done["a", level].summaries
        for name, value in summary.items():
            if name.startswith(("best_", "early_stop_")):
                assert value is None
            elif name.startswith("final_val"):
                assert math.isnan(value)
            elif name.startswith("final"):
                assert math.isfinite(value)


def test_the_dense_round_has_the_rates_of_the_later_rounds(make_program, make_member, run):
    used = []

    class Noting(torch.optim.SGD):
        def __init__(self, groups):
            super().__init__(groups, momentum=0.9)
            used.append([])

        def step(self, closure=None):
            used[-1].append([group["lr"] for group in self.param_groups])
            return super().step(closure)

    program = make_program(make_optimizer=Noting)
    schedules = [functools.partial(cosine, value=value) for value in (0.05, 0.01)]
    members = [
        make_member(program, key, schedule=s, group=(0.0, 0.0, key)) for key, s in zip("ab", schedules, strict=True)
    ]
    result = run(program, members)
    expected = [sorted(schedule(step, 7) for schedule in schedules) for step in range(7)]
    assert len(used) == 3
    assert all([sorted(rates) for rates in level] == expected for level in used)
    for key, schedule in zip("ab", schedules, strict=True):
        for level in range(3):
            rates = {row["iteration"]: row["lr"] for row in result.done[key, level].evaluations}
            assert rates == {0: None} | {iteration: schedule(iteration - 1, 7) for iteration in (3, 6, 7)}


def test_each_level_starts_with_fresh_optimizer_state(make_program, make_member, run):
    made = []

    def make(groups):
        made.append(torch.optim.Adam(groups))
        return made[-1]

    program = make_program(make_optimizer=make)
    run(program, [make_member(program, "a")])
    assert len(made) == 3
    assert all(int(state["step"]) == 7 for optimizer in made for state in optimizer.state.values())


def test_neighbours_of_equal_rate_and_decay_share_a_group(make_program, make_member, run, watched):
    program = make_program(method=CONTROLS, levels=1)
    members = [
        make_member(program, "a", seed=0, lr=0.01),
        make_member(program, "b", seed=1, lr=0.02),
        make_member(program, "c", seed=2, lr=0.01),
        make_member(program, "d", seed=3, lr=0.01, weight_decay=0.1),
    ]
    done = run(program, members).done
    for level, arms in zip(watched, (1, 5), strict=True):
        found = [(g.schedule(0, 1), g.settings["weight_decay"], g.rows.stop - g.rows.start) for g in level.groups]
        assert sorted(found) == [(0.01, 0.0, 2 * arms), (0.01, 0.1, arms), (0.02, 0.0, arms)]
        assert [g.rows.start for g in level.groups] == [0, *(g.rows.stop for g in level.groups[:-1])]
    assert {row["lr"] for row in done["b", 1].evaluations} == {None, 0.02}
    assert {row["lr"] for key in "acd" for row in done[key, 1].evaluations} == {None, 0.01}


# -- evaluations and summaries


def test_evaluations_come_every_so_many_iterations_and_after_the_last(make_program, make_member, run):
    program = make_program(steps=8, evaluate_every=3)
    result = run(program, [make_member(program, "a")])
    for level in range(3):
        rows = result.done["a", level].evaluations
        assert [row["iteration"] for row in rows] == [0, 3, 6, 8]
        assert [row["epoch"] for row in rows] == [0.0, 1.0, 2.0, 8 / 3]
        assert {row["level"] for row in rows} == {level}
    progress = [event for event in result.events if isinstance(event, Progress)]
    assert [(event.level, event.steps_done) for event in progress] == [(n, i) for n in range(3) for i in (0, 3, 6, 8)]


def test_rows_are_the_scores_of_the_state_at_that_iteration(make_program, make_member, run, watched, tiny):
    program = make_program(method=CONTROLS, levels=1)
    rows = run(program, [make_member(program, "a"), make_member(program, "b", seed=1)]).done["b", 1].evaluations[-5:]
    data, level = program.problem, watched[1]
    for c, row in enumerate(rows, start=5):
        tiny.load_state_dict({name: value[c] for name, value in level.trained.items()})
        held_out = level.held_out[c]
        for split, x, y in (
            ("train", data.train_x[~held_out], data.train_y[~held_out]),
            ("val", data.train_x[held_out], data.train_y[held_out]),
            ("test", data.test_x, data.test_y),
        ):
            logits = tiny(x).detach()
            assert row[f"{split}_loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, y).item(), rel=1e-5)
            assert row[f"{split}_accuracy"] == int((logits.argmax(1) == y).sum()) / len(y)


def test_summaries_equal_a_plain_search_of_the_evaluations(make_program, make_member, run):
    """A rate so high that the last evaluation is not the best one."""
    program = make_program(method=CONTROLS, steps=30, evaluate_every=2)
    result = run(program, [make_member(program, "a", lr=0.3), make_member(program, "b", seed=1, lr=0.3)])
    differ = 0
    for done in result.done.values():
        for summary in done.summaries:
            rows = [r for r in done.evaluations if (r["arm"], r["draw"]) == (summary["arm"], summary["draw"])]
            assert len(rows) == 16
            best = early = rows[0]
            for row in rows[1:]:
                if row["val_accuracy"] > best["val_accuracy"]:
                    best = row
                if row["val_loss"] < early["val_loss"]:
                    early = row
            for split in SPLITS:
                for what in ("loss", "accuracy"):
                    assert summary[f"final_{split}_{what}"] == rows[-1][f"{split}_{what}"]
            assert summary["iterations"] == rows[-1]["iteration"] == 30
            assert summary["best_iteration"] == best["iteration"]
            assert summary["best_val_accuracy"] == best["val_accuracy"]
            assert summary["best_test_accuracy"] == best["test_accuracy"]
            assert summary["early_stop_iteration"] == early["iteration"]
            assert summary["early_stop_val_loss"] == early["val_loss"]
            assert summary["early_stop_test_accuracy"] == early["test_accuracy"]
            differ += len({best["iteration"], early["iteration"], 30}) == 3
    assert differ > 0


class Chances(Examples):
    """The same examples, scored as games are: by a number of their own, without a loss but that of training."""

    scores = (Score("loss", "lower", ("train",)), Score("return", "higher"))
    headline = scores[1]
    counts = ("steps", "games")

    def evaluate(self, forward, memory, cells, splits):
        found = super().evaluate(forward, memory, cells, splits)
        returns = {name.replace("accuracy", "return"): value for name, value in found.items() if "accuracy" in name}
        return returns | {"train_loss": found["test_loss"], "steps": [7.0] * 2, "games": [2.0] * 2}


class Texts(Examples):
    """The same examples, where validation chooses by the loss."""

    headline = Score("loss", "lower")


@pytest.mark.parametrize("kind", [Chances, Texts])
def test_columns_are_those_of_the_problem_and_validation_chooses_by_its_headline(
    make_program, make_member, run, data, kind, tmp_path
):
    problem = kind(data.train_x, data.train_y, data.test_x, data.test_y)
    program = make_program(problem=problem, steps=30, evaluate_every=2, levels=1)
    done = run(program, [make_member(program, "a", lr=0.3), make_member(program, "b", seed=1, lr=0.3)]).done["b", 1]
    (summary,), by = done.summaries, problem.headline.name
    choose = max if by == "return" else min
    value = choose(row[f"val_{by}"] for row in done.evaluations)
    best = next(row for row in done.evaluations if row[f"val_{by}"] == value)
    assert summary["best_iteration"] == best["iteration"]
    assert summary[f"best_test_{by}"] == best[f"test_{by}"]
    if kind is Texts:
        assert summary["early_stop_test_loss"] == summary["best_test_loss"]
    else:
        assert not any(name.startswith("early_stop") for name in summary)
        assert (summary["final_steps"], summary["final_games"]) == (7, 2)
    for name, rows in ((EVALUATIONS_FILE, done.evaluations), (LEVELS_FILE, done.summaries)):
        (tmp_path / name).write_bytes(as_parquet(name, rows))
        assert read(tmp_path / name).to_pylist() == [
            {column: row[column] for column in columns_of(name, row)} for row in rows
        ]
    with pytest.raises(BrokenFileError, match="rows of several problems"):
        as_parquet(LEVELS_FILE, [*done.summaries, {**summary, "final_val_other": 0.5}])


def test_test_data_decide_nothing(make_program, make_member, run):
    program = make_program(method=CONTROLS, steps=20)
    data = program.problem
    other = dataset_with(data, test_x=data.test_x.flip(0) * 3, test_y=(data.test_y + 1) % 3)
    changed = dataclasses.replace(program, problem=other)
    one, two = (run(p, [make_member(p, "a", lr=0.1)]) for p in (program, changed))
    tests = 0
    for place, done in one.done.items():
        for kind in ("evaluations", "summaries"):
            for row, again in zip(getattr(done, kind), getattr(two.done[place], kind), strict=True):
                for name in set(row) - {"seconds"}:
                    if "test" in name:
                        tests += row[name] != again[name]
                    else:
                        assert row[name] == again[name], name
        for name, mask in (done.next_masks or {}).items():
            assert torch.equal(mask, two.done[place].next_masks[name])
    assert tests > 50


def test_validation_data_train_nothing(make_program, make_member, run, watched):
    program = make_program(steps=20)
    member = make_member(program, "a")
    one = run(program, [member])
    held_out = watched[0].held_out[0]
    labels = torch.where(held_out, (program.problem.train_y + 1) % 3, program.problem.train_y)
    two = run(dataclasses.replace(program, problem=dataset_with(program.problem, train_y=labels)), [member])
    for row, again in zip(one.rows("a"), two.rows("a"), strict=True):
        assert all(row[name] == again[name] for name in row if name.startswith(("train", "test", "weights")))
        assert row["val_loss"] != again["val_loss"]


# -- packing


def test_a_cell_is_the_same_alone_and_in_a_stack_of_four(make_program, make_member, run, watched):
    program, members = make_program(levels=2, steps=10), None
    members = four(program, make_member)
    run(program, members)
    stacked = list(watched)
    order = [m.key for m in sorted(members, key=lambda m: (m.schedule.keywords["value"], m.settings["weight_decay"]))]
    assert order == ["d", "a", "c", "b"]
    for member in members:
        watched.clear()
        run(program, [member])
        c = order.index(member.key)
        for level, (alone, together) in enumerate(zip(watched, stacked, strict=True)):
            assert all(
                torch.equal(index[0], other[c]) for index, other in zip(alone.batches, together.batches, strict=True)
            )
            assert torch.equal(alone.held_out[0], together.held_out[c])
            if level == 0:
                for name, value in alone.params.items():
                    assert torch.equal(value[0], together.params[name][c])
                assert all(torch.equal(mask[0], together.masks[name][c]) for name, mask in alone.masks.items())
                for name, value in alone.trained.items():
                    torch.testing.assert_close(value[0], together.trained[name][c], rtol=1e-3, atol=1e-4)


def test_results_do_not_depend_on_packing(make_program, make_member, run):
    program, members = double(make_program(levels=3, steps=10), four(make_program(), make_member))
    together = run(program, members)
    pairs = [run(program, members[:2]), run(program, members[2:])]
    reversed_ = run(program, members[::-1])
    for member in members:
        alone = run(program, [member])
        for other in (together, reversed_, pairs[member.key in "cd"]):
            for row, again in zip(alone.rows(member.key), other.rows(member.key), strict=True):
                for name in set(row) - {"seconds"}:
                    assert again[name] == (pytest.approx(row[name], rel=1e-8) if "loss" in name else row[name])
            for level in range(3):
                for name, mask in alone.done[member.key, level].next_masks.items():
                    assert torch.equal(mask, other.done[member.key, level].next_masks[name])


def test_the_same_run_twice_is_the_same_bit_for_bit(make_program, make_member, run):
    program = make_program(method=CONTROLS)
    one, two = (run(program, four(program, make_member)) for _ in range(2))
    for key in "abcd":
        for row, again in zip(one.rows(key), two.rows(key), strict=True):
            assert {n: v for n, v in row.items() if n != "seconds"} == {
                n: v for n, v in again.items() if n != "seconds"
            }


def test_going_on_from_a_level_equals_never_having_stopped(make_program, make_member, run):
    program = make_program(method=CONTROLS, levels=4)
    members = four(program, make_member)
    whole = run(program, members)
    resumed = [dataclasses.replace(m, recorded={2: whole.done[m.key, 1].next_masks}.get) for m in members]
    rest = run(program, resumed, first=2)
    assert set(rest.done) == {(m.key, level) for m in members for level in (2, 3, 4)}
    for member in members:
        later = [row for row in whole.rows(member.key) if row["level"] >= 2]
        for row, again in zip(later, rest.rows(member.key), strict=True):
            assert {n: v for n, v in row.items() if n != "seconds"} == {
                n: v for n, v in again.items() if n != "seconds"
            }


# -- growing


def without_seconds(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_a_longer_run_goes_on_from_the_last_ticket_with_the_same_bits(make_program, make_member, run):
    program = make_program(method=CONTROLS, levels=3)
    members = four(program, make_member)
    whole = run(program, members)
    short = run(make_program(method=CONTROLS, levels=1), members)
    arms = {f"{name}/{draw}": 1 for name, draw in ARMS}
    onward = [dataclasses.replace(m, recorded={2: short.done[m.key, 1].next_masks}.get) for m in members]
    rest = run(make_program(method=CONTROLS, levels=3, done=arms), onward)
    assert {level for _, level in rest.done} == {2, 3}  # begun at level 0, of which nothing is lacking
    for m in members:
        both = [row for result in (short, rest) for row in result.rows(m.key)]
        assert without_seconds(both) == without_seconds(whole.rows(m.key))


@pytest.mark.parametrize("draws", [1, 2])
def test_controls_that_are_added_later_equal_those_beside_the_ticket(make_program, make_member, run, watched, draws):
    """On the ticket's masks and batches; of another stack size, so in float64 and not bit for bit."""
    asked = IMP(controls=["reinit", "random_mask"], draws=draws)
    program, members = double(make_program(method=asked, levels=3), four(make_program(), make_member))
    whole = run(program, members)
    batches = [level.batches for level in watched]
    watched.clear()
    alone = run(dataclasses.replace(program, method=IMP()), members)
    watched.clear()
    masks = {m.key: {n + 1: alone.done[m.key, n].next_masks for n in range(4)} for m in members}
    recorded = [dataclasses.replace(m, recorded=masks[m.key].get) for m in members]
    added = run(dataclasses.replace(program, done={"ticket/0": 3}), recorded)
    assert {level for _, level in added.done} == {1, 2, 3}
    for level, before in zip(watched, batches[1:], strict=True):
        per_cell = 1 + 2 * draws
        assert [index[:: 2 * draws].tolist() for index in level.batches] == [i[::per_cell].tolist() for i in before]
    for m in members:
        assert all(added.done[m.key, level].next_masks is None for level in (1, 2, 3))
        expected = [row for row in whole.rows(m.key) if row["arm"] != "ticket"]
        assert len(expected) == 3 * 4 * 2 * draws
        for row, again in zip(expected, added.rows(m.key), strict=True):
            for name in set(row) - {"seconds"}:
                assert again[name] == (pytest.approx(row[name], rel=1e-9) if "loss" in name else row[name])


def test_more_levels_and_more_arms_train_what_is_lacking_level_by_level(make_program, make_member, run, watched):
    member = make_member(make_program(), "a")
    tickets = run(make_program(levels=2), [member])
    masks = {n + 1: tickets.done["a", n].next_masks for n in range(3)}
    program = make_program(method=CONTROLS, levels=3, done={"ticket/0": 2, "reinit/0": 1})
    found = run(program, [dataclasses.replace(member, recorded=masks.get)])
    trained = {level: [(s["arm"], s["draw"]) for s in done.summaries] for (_, level), done in found.done.items()}
    lacking = [arm for arm in ARMS if arm not in (("ticket", 0), ("reinit", 0))]
    assert trained == {1: lacking, 2: ARMS[1:], 3: ARMS}
    for level, done in ((one[1], found.done[one]) for one in found.done):
        counts = {tuple(s["layer_remaining"]) for s in done.summaries}
        assert len(counts) == 1
        assert (done.next_masks is None) == (level < 3)


def test_by_default_validation_and_test_are_scored_four_times_an_epoch(make_program, make_member, run):
    program = make_program(steps=20, steps_per_epoch=10, evaluate_every=None, levels=0)
    rows = run(program, [make_member(program, "a")]).rows("a")
    assert [row["iteration"] for row in rows] == [0, 3, 5, 8, 10, 13, 15, 18, 20]
    assert [row["iteration"] for row in rows if row["train_loss"] is not None] == [0, 10, 20]
    every = make_program(steps=20, steps_per_epoch=10, evaluate_every=1, levels=0)
    whole = {row["iteration"]: row for row in run(every, [make_member(every, "a")]).rows("a")}
    for row in rows:
        for name in (f"{split}_{score}" for split in SPLITS for score in ("loss", "accuracy")):
            if row[name] is not None:
                assert row[name] == pytest.approx(whole[row["iteration"]][name], rel=1e-5)
    short = make_program(steps=5, steps_per_epoch=3, evaluate_every=None, levels=0)
    assert [row["iteration"] for row in run(short, [make_member(short, "a")]).rows("a")] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("every", [None, 4])
def test_of_the_training_set_all_none_or_a_sample_is_scored_and_nothing_else_changes(
    make_program, make_member, run, watched, every
):
    def done(evaluate_train):
        program = make_program(
            steps=8, steps_per_epoch=4, evaluate_every=every, evaluate_train=evaluate_train, method=CONTROLS, levels=1
        )
        found = run(program, [make_member(program, "a"), make_member(program, "b", seed=1)])
        return [row for key in "ab" for row in found.rows(key)]

    whole, none, sample = done(True), done(False), done(7)
    assert {row["train_loss"] for row in none} == {row["train_accuracy"] for row in none} == {None}
    for row, other, sampled in zip(whole, none, sample, strict=True):
        for name in set(row) - {"train_loss", "train_accuracy", "seconds"}:
            again = pytest.approx(row[name], rel=1e-6) if name == "val_loss" else row[name]  # scored apart: it rounds
            assert other[name] == sampled[name] == again
        assert (sampled["train_loss"] is None) == (row["train_loss"] is None)
        if row["train_loss"] is not None:
            assert sampled["train_loss"] != row["train_loss"]
            assert (sampled["train_accuracy"] * 7) == pytest.approx(round(sampled["train_accuracy"] * 7))


def test_a_sample_of_the_training_set_is_fixed_by_the_seed_and_not_held_out(data, tiny):
    """A sample of all that is not held out scores as the whole; a smaller one as its own examples do."""
    network = Network(tiny)
    weights = [draw(tiny, xavier_normal, seed, "init") for seed in range(4)]
    masks = [{layer.name: torch.ones(layer.shape) for layer in layers_of(tiny)}] * 4
    state = network.stack(weights, masks, torch.device("cpu"))
    forward = Forward(network, state.params, state.buffers, training=False)

    def scores(sample, level=0):
        return data.evaluate(forward, {}, [Draws(seed, level, 10, 2, sample) for seed in (0, 1)], SPLITS)

    whole, all_of_it = scores(None), scores(40)
    for name, values in whole.items():
        assert all_of_it[name] == pytest.approx(values, rel=1e-6)
    assert scores(9) == scores(9, level=3)
    for c, seed in enumerate((0, 0, 1, 1)):
        cell = Draws(seed, 0, 10, 2, 9)
        own = data._sample(cell)
        assert len(set(own.tolist())) == 9
        assert not data._held_out(cell)[own].any()
        tiny.load_state_dict(weights[c])
        logits = tiny(data.train_x[own]).detach()
        loss = torch.nn.functional.cross_entropy(logits, data.train_y[own])
        assert scores(9)["train_loss"][c] == pytest.approx(float(loss), rel=1e-5)
    assert not torch.equal(data._sample(Draws(0, 0, 10, 1, 9)), data._sample(Draws(1, 0, 10, 1, 9)))


def test_without_the_training_set_a_cell_diverges_by_its_test_loss(make_program, make_member, run):
    program = make_program(steps=40, evaluate_every=5, evaluate_train=False)
    result = run(program, [make_member(program, "a"), make_member(program, "b", lr=1e30)])
    assert result.done["b", 0].diverged
    assert not math.isfinite(result.done["b", 0].evaluations[-1]["test_loss"])
    assert ("b", 1) not in result.done
    assert not any(result.done["a", level].diverged for level in range(3))


def test_a_network_that_is_scored_on_its_own_validation_examples_alone_scores_as_among_all(data, tiny):
    """Without the training set, each network sees its own examples in place of all."""
    network = Network(tiny)
    cells = [Draws(seed, 0, 10, 2) for seed in (0, 1)]
    weights = [draw(tiny, xavier_normal, seed, "init") for seed in range(4)]
    masks = [{layer.name: torch.ones(layer.shape) for layer in layers_of(tiny)}] * 4
    state = network.stack(weights, masks, torch.device("cpu"))
    forward = Forward(network, state.params, state.buffers, training=False)
    both = data.evaluate(forward, {}, cells, SPLITS)
    alone = data.evaluate(forward, {}, cells, ("val",))
    assert set(alone) == {"val_loss", "val_accuracy"}
    assert alone["val_accuracy"] == both["val_accuracy"]
    assert alone["val_loss"] == pytest.approx(both["val_loss"], rel=1e-6)
    (empty,) = {math.isnan(loss) for loss in data.evaluate(forward, {}, [Draws(0, 0, 0, 4)], ("val",))["val_loss"]}
    assert empty


# -- stopping inside a level


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("network", ["fc", "batch norm", "dropout"])
def test_going_on_from_any_step_of_a_level_equals_never_having_stopped(
    make_program, make_member, run, watched, tiny, tiny_bn, optimizer, network
):
    """Weights, statistics, the optimizer's state, batches and rows: all bit for bit."""
    make = {"adam": torch.optim.Adam, "sgd": functools.partial(torch.optim.SGD, momentum=0.9)}[optimizer]
    program = make_program(
        {"fc": tiny, "batch norm": tiny_bn, "dropout": mlp((1, 4, 4), 3, [12, 8], dropout=0.5)}[network],
        method=CONTROLS,
        levels=2,
        make_optimizer=functools.partial(make, fused=True),
        checkpoint_every=0.0,
    )
    members = four(program, make_member)
    kept = []
    whole = []
    for event in run_levels(program, members, 0):
        if isinstance(event, Checkpoint):
            kept.append(copy.deepcopy(event))  # as if written out: the tensors are live
        elif isinstance(event, LevelDone):
            whole.append(event)
    assert [(c.level, c.step) for c in kept] == [(level, step) for level in range(3) for step in range(1, 7)]
    masks = {(done.key, done.level + 1): done.next_masks for done in whole}
    for checkpoint in kept[::4]:
        watched.clear()
        level = checkpoint.level
        resumed = [dataclasses.replace(m, recorded={level: masks.get((m.key, level))}.get) for m in members]
        rest = [e for e in run_levels(program, resumed, level, checkpoint) if isinstance(e, LevelDone)]
        assert len(watched[0].batches) >= program.steps - checkpoint.step
        assert [(d.key, d.level) for d in rest] == [(d.key, d.level) for d in whole if d.level >= level]
        for done, expected in zip(rest, [d for d in whole if d.level >= level], strict=True):
            for kind in ("evaluations", "summaries"):
                for row, again in zip(getattr(expected, kind), getattr(done, kind), strict=True):
                    assert {n: v for n, v in row.items() if n != "seconds"} == {
                        n: v for n, v in again.items() if n != "seconds"
                    }
            for name, mask in (expected.next_masks or {}).items():
                assert torch.equal(mask, done.next_masks[name])


def test_the_gradient_of_a_level_is_clipped_as_its_program_says(make_program, make_member, run, watched):
    """A step of SGD moves a network by the rate times the norm of its gradient."""
    for clip in (None, 0.01):
        program = make_program(
            make_optimizer=functools.partial(torch.optim.SGD, fused=True), levels=0, steps=1, clip=clip
        )
        run(program, [make_member(program, key, seed=seed, lr=1.0) for seed, key in enumerate("ab")])
    for level, clipped in zip(watched, (False, True), strict=True):
        moved = torch.cat([(level.trained[n] - value).flatten(1) for n, value in level.params.items()], dim=1).norm(
            dim=1
        )
        assert torch.allclose(moved, torch.tensor(0.01), rtol=1e-3) is clipped
        assert bool((moved > 0.009).all())


def test_a_cell_that_is_ahead_trains_along_and_goes_on_from_its_own_masks(make_program, make_member, run):
    program = make_program(levels=3)
    whole = run(program, [make_member(program, key, seed=i) for i, key in enumerate("abc")])
    # In the stack as it was, and from other masks until then; and where it diverges until then.
    start = make_member(program, "b", seed=1)
    half = {
        layer.name: (torch.arange(math.prod(layer.shape)) % 2).view(layer.shape).float() for layer in program.layers
    }
    for change in ({}, {0: half}):
        ahead = dataclasses.replace(start, recorded={2: whole.done["b", 1].next_masks, **change}.get)
        result = run(program, [make_member(program, "a"), ahead, make_member(program, "c", seed=2)])
        for key, level in itertools.product("abc", range(4)):
            if key == "b" and level < 2 and change:
                continue
            one, other = whole.done[key, level], result.done[key, level]
            assert one.evaluations[-1]["train_loss"] == other.evaluations[-1]["train_loss"]
            assert one.summaries[0]["layer_remaining"] == other.summaries[0]["layer_remaining"]
    wild = make_member(program, "b", seed=1, lr=1e30, recorded={1: half}.get)
    result = run(program, [make_member(program, "a"), wild])
    assert [result.done["b", level].diverged for level in (0, 1)] == [True, True]
    assert ("b", 2) not in result.done
    assert ("a", 3) in result.done


def test_a_checkpoint_of_other_cells_or_another_level_is_left_aside(make_program, make_member, run):
    program = make_program(checkpoint_every=0.0, levels=1)
    members = [make_member(program, "a"), make_member(program, "b", seed=1)]
    checkpoint = next(e for e in run_levels(program, members, 0) if isinstance(e, Checkpoint) and e.step == 4)
    checkpoint = copy.deepcopy(checkpoint)
    for tensor in checkpoint.tensors.values():
        tensor.fill_(0)  # whoever goes on from it shows
    for cells, first in ((members[:1], 0), (members, 1)):
        expected = run(program, cells, first)
        events = list(run_levels(program, cells, first, checkpoint))
        rows = [row for e in events if isinstance(e, LevelDone) for row in e.evaluations]
        losses = [row["train_loss"] for key in "ab"[: len(cells)] for row in expected.rows(key)]
        assert sorted(row["train_loss"] for row in rows) == sorted(losses)


def test_checkpoints_come_as_often_as_asked_and_never_at_the_end(make_program, make_member):
    often = make_program(checkpoint_every=0.0)
    steps = [e.step for e in run_levels(often, [make_member(often, "a")], 0) if isinstance(e, Checkpoint)]
    assert steps == [1, 2, 3, 4, 5, 6] * 3


@pytest.mark.parametrize(
    ("epoch", "every", "steps"),
    [
        (3, 2, [2, 3, 5, 6]),
        (3, 4, [3, 6]),
        (3, math.inf, [3, 6]),
        (7, math.inf, []),
        (1000, 4, [4]),
        (1000, math.inf, []),
    ],
)
def test_a_checkpoint_comes_at_the_end_of_an_epoch_or_when_it_is_time(
    make_program, make_member, monkeypatch, epoch, every, steps
):
    clock = itertools.count()  # a second a step
    monkeypatch.setattr(level_module, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    program = make_program(steps=7, steps_per_epoch=epoch, evaluate_every=7, checkpoint_every=every, levels=0)
    events = run_levels(program, [make_member(program, "a")], 0)
    assert [event.step for event in events if isinstance(event, Checkpoint)] == steps


# -- divergence


def test_a_cell_that_diverges_leaves_and_its_neighbours_go_on_unchanged(make_program, make_member, run, watched):
    base = make_program(method=IMP(controls=["random_mask"]))
    program, members = double(base, [make_member(base, key, seed=i) for i, key in enumerate("abc")])
    expected = run(program, [members[0], members[2]])
    watched.clear()
    huge = functools.partial(members[1].schedule, value=1e300)
    members[1] = dataclasses.replace(members[1], schedule=huge, group=(1e300, 0.0, ""))
    result = run(program, members)
    assert set(result.done) == {("b", 0)} | {(key, level) for key in "ac" for level in range(3)}
    gone = result.done["b", 0]
    assert gone.diverged
    assert gone.next_masks is None
    assert not math.isfinite(gone.evaluations[-1]["train_loss"])
    assert [len(level.params["fc.weight"]) for level in watched] == [3, 4, 4]
    for key in "ac":
        assert not any(result.done[key, level].diverged for level in range(3))
        for row, again in zip(expected.rows(key), result.rows(key), strict=True):
            for name in set(row) - {"seconds"}:
                assert again[name] == (pytest.approx(row[name], rel=1e-8) if "loss" in name else row[name])


def test_the_neighbours_of_a_cell_that_diverges_end_with_the_same_bits(make_program, make_member, run):
    program = make_program(steps=40, evaluate_every=5)
    members = [make_member(program, key, seed=i, lr=0.01) for i, key in enumerate("abc")]
    nan = {name: value * math.nan for name, value in members[1].initial.items()}
    whole = run(program, members)
    spoilt = run(program, [members[0], dataclasses.replace(members[1], initial=nan), members[2]])

    def bits(done):
        return [[{name: row[name] for name in set(row) - {"seconds"}} for row in table] for table in done]

    for key in "ac":  # in the level of the divergence, as beside a cell that does not diverge
        one, other = whole.done[key, 0], spoilt.done[key, 0]
        assert bits([one.evaluations, one.summaries]) == bits([other.evaluations, other.summaries])
        assert all(torch.equal(one.next_masks[name], mask) for name, mask in other.next_masks.items())
    # and after it, as a stack that goes on without it
    left = [
        dataclasses.replace(m, recorded={1: spoilt.done[m.key, 0].next_masks}.get) for m in (members[0], members[2])
    ]
    alone = run(program, left, 1)
    for key in "ac":
        for level in (1, 2):
            one, other = alone.done[key, level], spoilt.done[key, level]
            assert bits([one.evaluations, one.summaries]) == bits([other.evaluations, other.summaries])


def test_a_level_ends_where_its_last_cell_diverges_and_rows_end_there_in_every_stack(make_program, make_member, run):
    program = make_program(steps=40, evaluate_every=5, levels=1)
    bad = make_member(program, "a", lr=1e30)
    alone = run(program, [bad])
    # the first evaluation that is not finite is the last thing that happens
    assert [event.steps_done for event in alone.events if isinstance(event, Progress)] == [0, 5]
    beside = run(program, [bad, make_member(program, "b", seed=1)])
    assert [row["iteration"] for row in beside.rows("b")] == [*range(0, 41, 5)] * 2
    for found in (alone, beside):
        first, row = found.rows("a")
        assert (first["iteration"], row["iteration"]) == (0, 5)
        assert math.isfinite(first["train_loss"])
        assert not math.isfinite(row["train_loss"])
        assert found.done["a", 0].summaries[0]["iterations"] == 5


def test_when_all_cells_diverge_nothing_more_is_trained(make_program, make_member, run, watched):
    program = make_program()
    result = run(program, [make_member(program, key, lr=1e30) for key in "ab"])
    assert set(result.done) == {("a", 0), ("b", 0)}
    assert all(done.diverged for done in result.done.values())
    assert len(watched) == 1


def test_a_summary_of_a_diverged_level_has_no_choice_among_losses_that_are_not_finite(make_program, make_member, run):
    program = make_program()
    nan = make_member(program, "a", initial={n: v * math.nan for n, v in make_member(program, "x").initial.items()})
    (summary,) = run(program, [nan]).done["a", 0].summaries
    assert summary["best_iteration"] is None
    assert summary["early_stop_test_accuracy"] is None
    assert math.isnan(summary["final_train_loss"])


@dataclasses.dataclass(frozen=True)
class BadControl(IMP):
    """A control of nan weights."""

    def start(self, arm, past):
        weights, masks = super().start(arm, past)
        return ({n: v * math.nan for n, v in weights.items()}, masks) if arm.name == "reinit" else (weights, masks)


def test_a_control_that_diverges_does_not_end_its_cell(make_program, make_member, run):
    program = make_program(method=BadControl(controls=["reinit"]))
    done = run(program, [make_member(program, "a")]).done
    assert set(done) == {("a", level) for level in range(3)}
    for level in (1, 2):
        ticket, control = done["a", level].summaries
        assert not done["a", level].diverged
        assert math.isfinite(ticket["final_train_loss"])
        assert not math.isfinite(control["final_train_loss"])
        assert ticket["layer_remaining"] == control["layer_remaining"]


def test_levels_come_as_they_finish(make_program, make_member):
    """A record can be written after each level, before the next is trained."""
    program = make_program()
    events = run_levels(program, [make_member(program, "a"), make_member(program, "b", seed=1)], 0)
    seen = []
    for event in events:
        seen.append(event)
        if isinstance(event, LevelDone) and event.key == "b":
            break
    assert [(e.key, e.level) for e in seen if isinstance(e, LevelDone)] == [("a", 0), ("b", 0)]
    assert isinstance(next(events), Progress)


# -- levels that train nothing, groups that the config decides


def test_a_level_of_no_steps_is_scored_once_and_pruned(make_program, make_member, run, watched):
    program = make_program(method=CONTROLS, steps=0, levels=2)
    result = run(program, [make_member(program, "a"), make_member(program, "b", seed=1)])
    for key in "ab":
        rows = result.rows(key)
        assert [(row["level"], row["iteration"], row["epoch"]) for row in rows if row["arm"] == "ticket"] == [
            (0, 0, 0.0), (1, 0, 0.0), (2, 0, 0.0),
        ]  # fmt: skip
        assert all(row["lr"] is None and row["seconds"] == 0.0 for row in rows)
        assert all(math.isfinite(row["test_loss"]) for row in rows)
        for level in range(3):
            ticket, *_ = result.done[key, level].summaries
            assert (ticket["iterations"], ticket["best_iteration"], ticket["early_stop_iteration"]) == (0, 0, 0)
    assert [result.done["a", level].summaries[0]["weights_remaining"] for level in range(3)] == [228, 183, 146]
    assert [level.trained for level in watched] == [None] * 3  # no step was taken
    # What is pruned are the smallest initial weights.
    weight = make_member(program, "a").initial["fc.weight"].abs()
    mask = result.done["a", 0].next_masks["fc.weight"]
    assert weight[mask == 0].max() < weight[mask == 1].min()


class Times:
    """A schedule that is an object: nothing of its rate shows in `keywords`."""

    def __init__(self, value):
        self.value = value

    def __call__(self, step, steps):
        return self.value


def test_cells_of_other_rates_are_other_groups_whatever_their_schedule_is(make_program, make_member, run):
    """Schedules that are objects or closures are told apart by the config, and each cell trains at its own rate."""
    values = (0.1, 0.01, 0.001)
    used = []

    class Noting(torch.optim.SGD):
        def step(self, closure=None):
            used.append(sorted(group["lr"] for group in self.param_groups))
            return super().step(closure)

    program = make_program(make_optimizer=Noting, levels=0)
    members = [make_member(program, str(value), schedule=Times(value), group=(value, 0.0, "")) for value in values]
    result = run(program, members)
    assert used == [sorted(values)] * 7
    for value in values:
        assert {row["lr"] for row in result.rows(str(value))} == {None, value}


def test_the_recorded_rate_is_the_optimizers(make_program, make_member, run):
    """A rate that the optimizer did not use is not what the record says."""

    class Halved(torch.optim.SGD):
        def __init__(self, groups):
            super().__init__([{**group, "lr": group["lr"] / 2} for group in groups])

    program = make_program(make_optimizer=Halved, levels=0)
    rows = run(program, [make_member(program, "a", lr=0.5)]).rows("a")
    assert {row["lr"] for row in rows} == {None, 0.25}


@pytest.mark.parametrize("rate", [1.2e-3, 0.1, 1e-30, 3e-4, 0.33333334])
def test_a_rate_that_a_gpu_holds_is_recorded_as_it_was_written(rate):
    """A GPU's optimizer reads it from a 32-bit float, a CPU's from a 64-bit one."""
    assert level_module._number(torch.tensor(rate, dtype=torch.float32)) == rate
    assert level_module._number(torch.tensor(rate, dtype=torch.float64)) == rate
    assert level_module._number(rate) == rate
