"""Verdicts: each direction against its definition, effects against plain loops, and every way not to be tested."""

import itertools
import math
import statistics as stdlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit

from multirun_analysis import claims
from multirun_analysis.claims.read import DIRECTIONS, Claim
from multirun_analysis.claims.verdict import decide
from multirun_analysis.load import Study, load
from multirun_analysis.pairing import Side

XAVIER, KAIMING = Side({"init": "xavier_u"}), Side({"init": "kaiming_u"})


def claim(**changes: object) -> Claim:
    return Claim(
        **{
            "name": "c",
            "source": "s",
            "text": "t",
            "compare": ((XAVIER, KAIMING),),
            "remaining": 0.41,
            "direction": "greater",
            **changes,
        }
    )


@given(
    st.sampled_from(DIRECTIONS),
    st.floats(-1, 1),
    st.floats(0.01, 1),
    st.floats(-2, 2),
    st.floats(-2, 2),
    st.floats(0, 1),
)
def test_a_verdict_holds_for_every_effect_in_its_interval(
    direction: str, value: float, margin: float, one: float, two: float, part: float
) -> None:
    margin = margin if direction in ("equal", "not_less", "not_greater") else 0.0
    asked = claim(direction=direction, value=value, margin=margin)
    low, high = sorted((one, two))
    effect = low + part * (high - low)
    true = {
        "greater": effect > value,
        "less": effect < value,
        "equal": abs(effect - value) < margin,
        "not_less": effect > value - margin,
        "not_greater": effect < value + margin,
    }[direction]
    verdict = decide(asked, low, high)
    near = any(abs(effect - bound) < 1e-9 for bound in (value, value - margin, value + margin))
    assert near or verdict in ("undecided", "supported" if true else "contradicted")
    if verdict == "undecided":
        assert any(low <= bound <= high for bound in (value, value - margin, value + margin))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_no_interval_decides_nothing(direction: str) -> None:
    assert decide(claim(direction=direction, margin=0.1), math.nan, math.nan) == "undecided"


def accuracy(study: Study, **where: object) -> float:
    """Find one final test accuracy by a loop, the draws of an arm averaged."""
    rows = [
        row
        for row in study.levels.to_dict("records")
        if row["status"] == "done" and all(row[name] == value for name, value in where.items())
    ]
    assert rows
    return stdlib.fmean(row["final_test_accuracy"] for row in rows)


def interval(effects: list[float]) -> tuple[float, float, float]:
    half = stdtrit(len(effects) - 1, 0.975) * stdlib.stdev(effects) / math.sqrt(len(effects))
    mean = stdlib.fmean(effects)
    return mean, mean - half, mean + half


def test_an_effect_is_the_mean_over_seeds_in_each_setting(mixed: Study) -> None:
    both = ((XAVIER, KAIMING), (Side({"init": "xavier_n"}), Side({"init": "kaiming_n"})))
    found = claims.judge(mixed.levels, [claim(compare=both)])
    assert found["setting"].tolist() == ["lr=0.0012", "lr=0.1"]
    for row, lr in zip(found.to_dict("records"), (1.2e-3, 0.1), strict=True):
        effects = [
            stdlib.fmean(
                accuracy(mixed, lr=lr, seed=seed, level=4, arm="ticket", init=f"xavier_{kind}")
                - accuracy(mixed, lr=lr, seed=seed, level=4, arm="ticket", init=f"kaiming_{kind}")
                for kind in "un"
            )
            for seed in range(3)
        ]
        assert (row["effect"], row["low"], row["high"]) == pytest.approx(interval(effects))
        assert (row["n"], row["verdict"], row["why"]) == (3, "supported", "")
        assert row["remaining"] == pytest.approx(0.41, rel=0.12)


def test_against_dense_relative_and_over_a_range_of_levels(mixed: Study) -> None:
    reinit = Side({"init": "xavier_u", "lr": 1.2e-3}, arm="reinit")
    dense = Side({"init": "xavier_u", "lr": 1.2e-3}, dense=True)
    found = claims.judge(
        mixed.levels, [claim(compare=((reinit, dense),), remaining=(0.6, 0.3), direction="less", relative=True)]
    ).iloc[0]
    effects = []
    for seed in range(3):
        here = {"lr": 1.2e-3, "init": "xavier_u", "seed": seed}
        base = accuracy(mixed, **here, arm="ticket", level=0)
        effects.append(stdlib.fmean(accuracy(mixed, **here, arm="reinit", level=n) / base - 1 for n in (3, 4, 5)))
    assert (found["effect"], found["low"], found["high"]) == pytest.approx(interval(effects))
    assert found["verdict"] == "supported"


def test_one_level_of_a_cell_against_another(mixed: Study) -> None:
    """The right side is the score at the level nearest to its weights remaining, whatever level the left one is at."""
    first, last = Side({"init": "xavier_u", "lr": 1.2e-3}), Side({"init": "xavier_u", "lr": 1.2e-3}, at=0.41)
    row = claims.judge(mixed.levels, [claim(compare=((first, last),), remaining=0.8)]).iloc[0]
    here = {"lr": 1.2e-3, "init": "xavier_u", "arm": "ticket"}
    effects = [accuracy(mixed, **here, seed=n, level=1) - accuracy(mixed, **here, seed=n, level=4) for n in range(3)]
    assert (row["effect"], row["low"], row["high"]) == pytest.approx(interval(effects))
    only_dense = mixed.levels[mixed.levels["level"].isin([0, 3])]  # the dense network is 11 % off, and none of a level
    lacking = claims.judge(only_dense, [claim(compare=((first, Side(at=0.9)),), remaining=0.5)]).iloc[0]
    assert lacking["why"].startswith("no cells with arm ticket at 0.9 remaining")
    none = claims.judge(mixed.levels, [claim(compare=((first, Side(at=0.0001)),), remaining=0.8)]).iloc[0]
    assert (none["verdict"], none["why"]) == ("not tested", "no cells with arm ticket at 0.0001 remaining")


def test_an_area_is_a_mean_over_log_remaining(mixed: Study) -> None:
    found = claims.judge(mixed.levels, [claim(remaining="area", where={"lr": 0.1})]).iloc[0]
    effects = []
    for seed in range(3):
        steps = []
        for level in range(7):
            here = {"lr": 0.1, "seed": seed, "level": level, "arm": "ticket"}
            rows = mixed.levels.query("level == @level and init == 'xavier_u'")["remaining"]
            steps.append(
                (
                    math.log(rows.iloc[0]),
                    accuracy(mixed, **here, init="xavier_u") - accuracy(mixed, **here, init="kaiming_u"),
                )
            )
        total = sum((a[0] - b[0]) * (a[1] + b[1]) / 2 for a, b in itertools.pairwise(steps))
        effects.append(total / (steps[0][0] - steps[-1][0]))
    assert (found["effect"], found["low"], found["high"]) == pytest.approx(interval(effects))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"where": {"model": "lenet5"}}, "no such cells: none has model=lenet5"),
        ({"where": {"modle": "lenet"}}, "no such cells: this study has no config value modle"),
        ({"where": {"init": ["xavier_u", "xavier_n"], "lr": 3}}, "no such cells: none has lr=3"),
        ({"compare": ((XAVIER, Side({"init": "he_n"})),)}, "no cells with init=he_n"),
        ({"compare": ((Side(), Side(arm="random_mask")),)}, "no cells with arm random_mask"),
        ({"remaining": 0.01}, "no level near 0.01; the nearest is 0.26"),
        ({"remaining": 0.9}, "no level near 0.9; the nearest is 0.8"),  # not the dense network, which is nearer
        ({"remaining": (0.1, 0.0)}, "no level from 0.1 down to 0"),
    ],
)
def test_what_a_study_lacks_is_not_tested_and_named(mixed: Study, changes: dict[str, object], why: str) -> None:
    found = claims.judge(mixed.levels, [claim(**changes)])
    assert set(found["verdict"]) == {"not tested"}
    assert found["why"].str.startswith(why).all()
    assert found["n"].eq(0).all()


def test_a_claim_on_pruned_networks_waits_for_the_first_of_them(mixed: Study) -> None:
    dense = mixed.levels.query("level == 0")
    assert claims.judge(dense, [claim(remaining=0.95)])["why"].eq("no pruned level yet").all()
    assert claims.judge(dense, [claim(remaining=1.0)])["n"].gt(0).all()


def test_one_seed_none_held_out_and_no_records(write_cell: Callable[..., str], tmp_path: Path) -> None:
    for init in ("xavier_u", "kaiming_u"):
        write_cell(init=init, levels=4, epochs=1, validation=0)
    levels = load(tmp_path / "made_up").levels
    found = claims.judge(levels, [claim(), claim(metric="early_stop_iteration")])
    assert found["verdict"].tolist() == ["undecided", "not tested"]
    assert found["why"].tolist() == [
        "one seed gives no interval",
        "early_stop_iteration has no value: no examples were held out",
    ]
    assert math.isnan(found.loc[0, "low"])
    assert not math.isnan(found.loc[0, "effect"])
    assert claims.judge(levels.iloc[:0], claims.published())["verdict"].eq("not tested").all()


def test_a_seed_without_all_pairs_is_left_out(write_cell: Callable[..., str], tmp_path: Path) -> None:
    for seed in range(4):
        for init in ("xavier_u", "kaiming_u", "xavier_n", "kaiming_n"):
            if (seed, init) != (3, "kaiming_n"):
                write_cell(init=init, seed=seed, levels=4, epochs=1)
    both = ((XAVIER, KAIMING), (Side({"init": "xavier_n"}), Side({"init": "kaiming_n"})))
    levels = load(tmp_path / "made_up").levels
    found = claims.judge(levels, [claim(compare=both), claim(compare=both, remaining="area")])
    assert found["n"].tolist() == [3, 3]


def test_undecided_says_which_bound_is_crossed_and_how_many_seeds_would_tell(mixed: Study) -> None:
    found = claims.judge(mixed.levels, [claim(where={"lr": 0.1}, value=0.0032)]).iloc[0]
    assert found["verdict"] == "undecided"
    assert found["why"].startswith("the interval crosses 0.32 points")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"direction": "less"}, "the effect points the other way"),
        ({"direction": "equal", "value": -0.02, "margin": 0.001}, "the effect points the other way"),
        ({"direction": "greater", "value": 0.05}, "the effect is smaller than claimed"),
        ({"direction": "equal", "value": 0.001, "margin": 0.0001}, "the effect is larger than claimed"),
        ({"direction": "not_greater", "margin": 0.001}, ""),
    ],
)
def test_contradicted_says_how(mixed: Study, changes: dict[str, object], why: str) -> None:
    found = claims.judge(mixed.levels, [claim(where={"lr": 0.1}, **changes)]).iloc[0]
    assert (found["verdict"], found["why"]) == ("contradicted", why)


def test_undecided_says_where_the_effect_points_the_other_way(mixed: Study) -> None:
    same = ((XAVIER, Side({"init": "xavier_n"})),)
    found = claims.judge(mixed.levels, [claim(compare=same, direction="less", margin=0.0)])
    away = found[found["effect"] > 0]
    assert found["verdict"].eq("undecided").any()
    for row in away[away["verdict"].eq("undecided")].to_dict("records"):
        assert row["why"].startswith("the effect points the other way, but the interval crosses 0")
    assert len(away)


def test_a_layers_name_names_no_network() -> None:
    for one in claims.published():
        assert "fc1" not in one.name + one.text


def test_the_published_claims_are_put_to_a_study_at_once(mixed: Study) -> None:
    found = claims.judge(mixed.levels, claims.published())
    assert set(found["claim"]) == {claim.name for claim in claims.published()}
    assert set(found["verdict"]) <= set(claims.VERDICTS)


def test_every_published_claim_on_lenet_300_100_can_be_tested(write_cell: Callable[..., str], tmp_path: Path) -> None:
    arms = {"ticket": 1, "reinit": 1, "random_mask": 1}
    study = {"model": "lenet_300_100", "levels": 18, "epochs": 1, "arms": arms}
    for seed in range(2):
        for init in ("xavier_u", "xavier_n", "kaiming_u", "kaiming_n", "kaiming_u_out", "kaiming_n_out"):
            write_cell(seed=seed, init=init, **study)
        write_cell(seed=seed, lr=0.1, **study)
        write_cell(seed=seed, method__rewind="500it", **study)
        for method in ("one_shot", "snip", "grasp", "synflow", "random"):
            write_cell(seed=seed, method=method, **study)
    published = claims.published()
    found = claims.judge(load(tmp_path / "made_up").levels, published).set_index("claim")
    tested = {claim.name for claim in published if claim.where["model"] == "lenet_300_100"}
    assert set(found[found["verdict"].ne("not tested")].index) == tested
    assert set(found.loc["B, LeNet-300-100 re-init worse below 38.8 %", "verdict"]) == {"supported"}
    assert set(found.loc["F&C, stop 38 % earlier at 21 %", "remaining"].round(4)) == {0.2107}
    assert set(found.loc["F&C, ticket below dense at 2.9 %", "remaining"].round(4)) == {0.0287}
    # each of the one kind of cell that it is about
    assert found.loc["A, Xavier over Kaiming", "setting"] == "lr=0.0012 method.rewind=init"
    assert found.loc["At initialization, SNIP below the ticket at 2 %", "setting"] == "method.rewind=init"
    assert found.loc["F&C, one-shot tickets over dense", "setting"] == ""
