"""The norms of gradients against a plain loop over copies of the model."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy

from ltsweep.engine.look import Look
from ltsweep.errors import UserError
from ltsweep.measure.gradients import Gradients
from ltsweep.method import IMP


def test_the_norms_are_those_of_a_plain_loop(tiny_bn, make_program, make_member, run, monkeypatch):
    seen, losses = [], Look.losses

    def noted(self, leaves, examples, temperature=1.0):
        problem, forward = self.stage.problem, []

        class Forward:
            def __call__(self, x, shared=False):
                forward.append(x)
                return torch.zeros(*x.shape[:2], 3)

        with monkeypatch.context() as patch:
            patch.setattr(type(problem), "loss", lambda self, f, m, batch: seen.append(batch) or torch.zeros(4))
            losses(self, leaves, examples, temperature)
        return losses(self, leaves, examples, temperature)

    monkeypatch.setattr(Look, "losses", noted)
    program = make_program(
        tiny_bn, method=IMP(controls=["reinit"]), levels=1, steps=0, evaluate_every=None,
        measurements={"gradients": Gradients(examples=9)},
    )  # fmt: skip
    members = [make_member(program, "a"), make_member(program, "b", seed=1)]
    done = run(program, members).done
    data = program.problem
    for c, key in enumerate("ab"):
        rows = [row for row in done[key, 1].readings if row["arm"] == "ticket"]
        masks = done[key, 0].next_masks
        assert [(row["name"], row["place"], row["at"]) for row in rows] == [
            ("gradient", name, number) for number, name in enumerate(masks, start=1)
        ]
        own = copy.deepcopy(tiny_bn).train()
        own.load_state_dict({n: v * masks.get(n, 1) for n, v in members[c].initial.items()})
        (index,) = seen[-1]
        mine = index[2 * c]
        assert len(mine) == 9
        cross_entropy(own(data.train_x[mine]), data.train_y[mine]).backward()
        norms = [(own.get_parameter(name).grad * mask).norm().item() for name, mask in masks.items()]
        assert [row["value"] for row in rows] == pytest.approx(norms, rel=1e-4)


def test_values_out_of_range_are_refused():
    with pytest.raises(UserError, match=r"^measure\.gradients\.examples=0 is out of range"):
        Gradients(examples=0)


@pytest.mark.parametrize("measure", [Gradients()])
def test_measuring_changes_no_number(measure, make_program, make_member, run):
    plain, measured = make_program(), make_program(measurements={"gradients": measure})
    one, other = (run(program, [make_member(program, "a")]) for program in (plain, measured))
    for row, again in zip(one.rows("a"), other.rows("a"), strict=True):
        assert {n: v for n, v in row.items() if n != "seconds"} == {n: v for n, v in again.items() if n != "seconds"}
