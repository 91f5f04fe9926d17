"""The error along the line between the ticket and its twin, against a plain loop over copies of the model."""

import copy
import dataclasses

import pytest
import torch

from ltsweep.errors import UserError
from ltsweep.lottery import level as level_module
from ltsweep.measure.connectivity import Connectivity
from ltsweep.method import IMP

PLACES = [0.0, 0.25, 0.5, 0.75, 1.0]


def error_of(model, weights, x, y):
    """Return the share of examples whose largest output is wrong, of the model with these weights."""
    own = copy.deepcopy(model)
    own.load_state_dict(weights)
    with torch.no_grad():
        return float((own.eval()(x).argmax(1) != y).double().mean())


@pytest.mark.parametrize("name", ["tiny", "tiny_bn"])
def test_errors_along_the_line_and_their_barrier(request, name, make_program, make_member, run, monkeypatch):
    model, ends, readings = request.getfixturevalue(name), [], level_module.readings

    def seen(measurements, moment, look):
        if moment == "end":
            everything = {**look.state.params, **look.state.buffers}
            ends.append([{n: v[c].clone() for n, v in everything.items()} for c in range(len(look.starts))])
        return readings(measurements, moment, look)

    monkeypatch.setattr(level_module, "readings", seen)
    method = IMP(controls=["random_mask", "twin"], draws=2)
    measured = {"connectivity": Connectivity(points=5, splits=["val", "test"])}
    program = make_program(model, method=method, levels=1, steps=12, measurements=measured)
    members = [make_member(program, "a", lr=0.05), make_member(program, "b", seed=1, lr=0.05)]
    done = run(program, members).done
    data = program.problem
    for level in (0, 1):
        arms = [(arm.name, arm.draw) for arm in method.arms(level)]
        for c, key in enumerate("ab"):
            rows = done[key, level].readings
            assert {(row["arm"], row["draw"]) for row in rows} == {("twin", 0), ("twin", 1)}
            held_out = data._held_out(members[c].draws(program, level, method.arms(level)))
            splits = {"val": (data.train_x[held_out], data.train_y[held_out]), "test": (data.test_x, data.test_y)}
            for draw in (0, 1):
                ticket = ends[level][c * len(arms)]
                twin = ends[level][c * len(arms) + arms.index(("twin", draw))]
                for split, (x, y) in splits.items():
                    errors = []
                    for place in PLACES:
                        weights = {
                            n: v + place * (twin[n] - v) if v.is_floating_point() else v for n, v in ticket.items()
                        }
                        errors.append(error_of(model, weights, x, y))
                    mine = [row for row in rows if row["draw"] == draw and row["name"] == f"{split}_error"]
                    assert [row["at"] for row in mine] == PLACES
                    assert [row["value"] for row in mine] == pytest.approx(errors, abs=1e-9)
                    (barrier,) = [row for row in rows if row["draw"] == draw and row["name"] == f"{split}_barrier"]
                    assert barrier["value"] == pytest.approx(max(errors) - (errors[0] + errors[-1]) / 2, abs=1e-9)


def test_without_a_twin_there_is_nothing_to_read(make_program, make_member, run):
    program = make_program(method=IMP(controls=["reinit"]), measurements={"connectivity": Connectivity()})
    assert all(not event.readings for event in run(program, [make_member(program, "a")]).done.values())


def test_measuring_changes_no_number(make_program, make_member, run):
    program = make_program(method=IMP(controls=["twin"]))
    plain = run(program, [make_member(program, "a")])
    watched = dataclasses.replace(program, measurements={"connectivity": Connectivity(points=3)})
    measured = run(watched, [make_member(program, "a")])
    assert [{**row, "seconds": 0} for row in plain.rows("a")] == [{**row, "seconds": 0} for row in measured.rows("a")]


@pytest.mark.parametrize(("fields", "text"), [({"points": 2}, "points=2"), ({"splits": ["all"]}, "splits=")])
def test_values_out_of_range_are_refused(fields, text):
    with pytest.raises(UserError, match=rf"^measure\.connectivity\.{text}"):
        Connectivity(**fields)
