"""The measurement of weights against numbers computed by hand, and through the loop against the trained weights."""

import math

import pytest
import torch

from ltsweep.engine.look import Look
from ltsweep.engine.stack import State
from ltsweep.measure.weights import Weights
from ltsweep.method import IMP


def test_norm_distance_and_sign_changes_are_those_of_the_surviving_weights():
    start = torch.tensor([3.0, -4.0, 1.0, 5.0])
    now = torch.tensor([[0.0, -7.0, -1.0, 5.0], [0.0, 0.0, 0.0, 0.0]])
    mask = torch.tensor([[0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    look = Look(2, 9, State({"w": now, "bias": now}, {}, {"w": mask}), [{"w": start}, {"w": start}])
    found = {(reading.name, reading.place): (reading.at, reading.values.tolist()) for reading in Weights()(look)}
    assert set(found) == {("norm", "w"), ("distance", "w"), ("sign_changes", "w")}
    assert found["norm", "w"] == (None, [pytest.approx(math.sqrt(49 + 1 + 25)), 0.0])
    assert found["distance", "w"] == (None, [pytest.approx(math.sqrt(9 + 4)), 0.0])
    _, changed = found["sign_changes", "w"]
    assert changed[0] == pytest.approx(1 / 3)
    assert math.isnan(changed[1])  # a layer without weights


def test_every_arm_of_every_level_is_read_at_its_end(make_program, make_member, run, watched):
    program = make_program(method=IMP(controls=["reinit"]), levels=1, measurements={"weights": Weights()})
    done = run(program, [make_member(program, "a"), make_member(program, "b", seed=1)]).done
    for (key, level), arms in ((("a", 0), 1), (("b", 1), 2)):
        rows = done[key, level].readings
        assert len(rows) == arms * 2 * 3
        assert {row["iteration"] for row in rows} == {program.steps}
        assert {row["at"] for row in rows} == {None}
        for c, arm in enumerate(["ticket", "reinit"][:arms]):
            now = {name: value["ab".index(key) * arms + c] for name, value in watched[level].trained.items()}
            start = {name: value["ab".index(key) * arms + c] for name, value in watched[level].params.items()}
            for name in ("fc.weight", "output.weight"):
                mine = {row["name"]: row["value"] for row in rows if (row["arm"], row["place"]) == (arm, name)}
                kept = start[name] != 0
                assert mine["norm"] == pytest.approx(now[name].norm().item(), rel=1e-6)
                assert mine["distance"] == pytest.approx((now[name] - start[name]).norm().item(), rel=1e-6)
                changed = (now[name][kept] * start[name][kept] < 0).float().mean().item()
                assert mine["sign_changes"] == pytest.approx(changed, abs=1e-6)
                assert mine["distance"] > 0


def test_measuring_changes_no_number(make_program, make_member, run):
    plain, measured = make_program(), make_program(measurements={"weights": Weights()})
    one, other = (run(program, [make_member(program, "a")]) for program in (plain, measured))
    for row, again in zip(one.rows("a"), other.rows("a"), strict=True):
        assert {n: v for n, v in row.items() if n != "seconds"} == {n: v for n, v in again.items() if n != "seconds"}


def test_a_function_looks_at_level_ends_and_a_class_when_it_says(make_program, make_member, run):
    seen = []

    def ends(look):
        seen.append(("ends", look.level, look.iteration))
        return []

    class Everywhere:
        moments = ("start", "evaluation", "end")

        def __call__(self, look):
            seen.append(("everywhere", look.level, look.iteration))
            return []

    program = make_program(levels=1, measurements={"ends": ends, "everywhere": Everywhere()})
    run(program, [make_member(program, "a")])
    for level in (0, 1):
        assert [i for name, at, i in seen if (name, at) == ("ends", level)] == [7]
        assert [i for name, at, i in seen if (name, at) == ("everywhere", level)] == [0, 3, 6, 7, 7]
