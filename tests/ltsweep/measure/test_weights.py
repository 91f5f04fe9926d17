"""The measurement of weights against numbers computed by hand, and through the loop against the trained weights."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from ltsweep.engine.look import Look
from ltsweep.engine.stack import State
from ltsweep.errors import UserError
from ltsweep.measure.weights import Weights
from ltsweep.method import IMP

OF_MOVING = {"norm", "distance", "sign_changes", "start_correlation", "large_at_start"}
OF_SHAPE = {"mean", "deviation", "scale", "skewness", "kurtosis", "positive"}


def read(now, start, mask, **fields):
    """Return (name, at) -> a number for each network, of one layer."""
    state = State({"w": now * mask, "bias": now}, {}, {"w": mask})
    found = Weights(**fields)(Look(2, 9, state, [{"w": one} for one in start]))
    return {(one.name, one.at): one.values.tolist() for one in found if one.place == "w"}


def test_norm_distance_and_sign_changes_are_those_of_the_surviving_weights():
    start = torch.tensor([3.0, -4.0, 1.0, 5.0]).expand(2, 1, 4)
    now = torch.tensor([[0.0, -7.0, -1.0, 5.0], [0.0, 0.0, 0.0, 0.0]]).view(2, 1, 4)
    mask = torch.tensor([[0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]).view(2, 1, 4)
    found = read(now, start, mask, quantiles=0)
    assert set(found) == {(name, None) for name in OF_MOVING | OF_SHAPE}
    assert found["norm", None] == [pytest.approx(math.sqrt(49 + 1 + 25)), 0.0]
    assert found["distance", None] == [pytest.approx(math.sqrt(9 + 4)), 0.0]
    assert found["sign_changes", None][0] == pytest.approx(1 / 3)
    assert found["large_at_start", None][0] == pytest.approx(2 / 3)  # 5 and -4 of the three largest, 5, -4 and 3
    for name in {"sign_changes"} | (OF_MOVING | OF_SHAPE) - {"norm", "distance"}:
        assert math.isnan(found[name, None][1]), name  # a layer without weights


def test_moments_and_quantiles_are_those_of_scipy_and_numpy():
    draw = torch.Generator().manual_seed(1)
    now, start = (torch.randn(3, 20, 30, generator=draw) for _ in range(2))
    now[1] = now[1].exp()
    mask = (torch.rand(3, 20, 30, generator=draw) < 0.7).float()
    mask[2] = 0
    mask[2, 0, :2] = 1  # two weights, the fewest that have a spread
    found = read(now, start, mask, quantiles=4)
    for c in range(3):
        left, begun = (one[c][mask[c] > 0].double().numpy() for one in (now, start))
        expected = {
            "mean": left.mean(),
            "deviation": left.std(),
            "scale": left.std() * math.sqrt(30),
            "skewness": scipy.stats.skew(left),
            "kurtosis": scipy.stats.kurtosis(left),
            "positive": (left > 0).mean(),
            "start_correlation": np.corrcoef(left, begun)[0, 1],
        }
        for name, value in expected.items():
            assert found[name, None][c] == pytest.approx(value, abs=1e-6), name
        for at in (0.125, 0.375, 0.625, 0.875):
            assert found["quantile", at][c] == pytest.approx(np.interp(at, np.linspace(0, 1, len(left)), np.sort(left)))


@pytest.mark.parametrize("fields", [{"quantiles": -1}, {"quantiles": True}, {"quantiles": 1.5}, {"moments": ["now"]}])
def test_bad_fields_are_refused(fields):
    with pytest.raises(UserError, match=f"measure.weights.{next(iter(fields))}="):
        Weights(**fields)


def test_every_arm_of_every_level_is_read_at_its_end(make_program, make_member, run, watched):
    measure = {"weights": Weights(quantiles=0, moments=["end"])}
    program = make_program(method=IMP(controls=["reinit"]), levels=1, measurements=measure)
    done = run(program, [make_member(program, "a"), make_member(program, "b", seed=1)]).done
    for (key, level), arms in ((("a", 0), 1), (("b", 1), 2)):
        rows = done[key, level].readings
        assert len(rows) == arms * 2 * len(OF_MOVING | OF_SHAPE)
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


def test_the_untrained_dense_network_has_not_moved(make_program, make_member, run):
    program = make_program(levels=0, measurements={"weights": Weights(quantiles=0)})
    rows = run(program, [make_member(program, "a")]).done["a", 0].readings
    first = {(row["name"], row["place"]): row["value"] for row in rows if row["iteration"] == 0}
    for place in ("fc.weight", "output.weight"):
        found = [first[name, place] for name in ("distance", "sign_changes", "start_correlation", "large_at_start")]
        assert found == [0, 0, pytest.approx(1), 1]


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
