"""Every statistic is computed again another way: by loops, in closed form, or by going through all cases."""

import gc
import itertools
import math
import statistics as stdlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import stdtr, stdtrit
from statsmodels.stats.multitest import multipletests

from multirun_analysis import statistics

SAMPLES = st.lists(st.floats(-1, 1).map(lambda x: round(x, 4)), min_size=1, max_size=8)


def pairs(values: dict[tuple[str, int, int], tuple[float, float]], rate: float = 0.5) -> pd.DataFrame:
    """Make a table of pairs from {(setting, seed, level): (left, right)}."""
    rows = [(*key, (1 - rate) ** key[2], left, right, left - right) for key, (left, right) in values.items()]
    return pd.DataFrame(rows, columns=["setting", "seed", "level", "remaining", "left", "right", "difference"])


def grid(seeds: int, levels: int, settings: tuple[str, ...] = ("lr=0.1",), seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pairs(
        {
            key: (0.9 + rng.normal(0, 0.01), 0.89 + rng.normal(0, 0.01))
            for key in itertools.product(settings, range(seeds), range(levels))
        }
    )


def estimate(sample: list[float]) -> "pd.Series[float]":
    """All that is estimated of one sample."""
    data = [np.array(sample)]
    return pd.concat([statistics.estimates(data), statistics.resampling(data)], axis=1).iloc[0]


@settings(deadline=None)
@given(SAMPLES)
def test_intervals_and_p_are_those_of_the_closed_form(sample: list[float]) -> None:
    row = estimate(sample)
    n = len(sample)
    assert row["n"] == n
    if n == 1:
        assert row.drop("n").isna().all()
        return
    mean, sd = stdlib.fmean(sample), stdlib.stdev(sample)
    if max(sample) - min(sample) <= 1e-12:
        assert row[["low", "high", "boot_low", "boot_high"]].tolist() == pytest.approx([mean] * 4)
        assert row["sd"] == 0
        assert row["p"] == pytest.approx(row["p_flip"])
        return
    half = stdtrit(n - 1, 0.975) * sd / math.sqrt(n)
    assert (row["sd"], row["low"], row["high"]) == pytest.approx((sd, mean - half, mean + half), abs=1e-12)
    assert row["p"] == pytest.approx(2 * stdtr(n - 1, -abs(mean) / (sd / math.sqrt(n))), abs=1e-9)
    assert min(sample) - 1e-12 <= row["boot_low"] <= row["boot_high"] <= max(sample) + 1e-12


@settings(deadline=None)
@given(SAMPLES.filter(lambda sample: len(sample) > 1))
def test_sign_flips_are_all_gone_through(sample: list[float]) -> None:
    row = estimate(sample)
    mean = abs(math.fsum(sample))
    sums = [
        math.fsum(s * x for s, x in zip(signs, sample, strict=True))
        for signs in itertools.product((1, -1), repeat=len(sample))
    ]
    # two-sided as scipy has it: twice the smaller tail, at most 1
    tails = [sum(s >= mean - 1e-9 for s in sums), sum(s <= mean + 1e-9 for s in sums)]
    assert row["p_flip"] == pytest.approx(min(1.0, 2 * min(tails) / len(sums)))


def test_the_bootstrap_is_that_of_a_loop() -> None:
    sample = np.random.default_rng(1).normal(0.3, 1.0, 12)
    row = estimate(sample.tolist())
    rng = np.random.default_rng(2)
    means = np.sort([rng.choice(sample, len(sample)).mean() for _ in range(20_000)])
    z0 = stdlib.NormalDist().inv_cdf(float((means < sample.mean()).mean()))
    left_out = np.array([np.delete(sample, i).mean() for i in range(len(sample))])
    apart = left_out.mean() - left_out
    a = (apart**3).sum() / (6 * (apart**2).sum() ** 1.5)
    ends = []
    for z in (-1.959964, 1.959964):
        at = stdlib.NormalDist().cdf(z0 + (z0 + z) / (1 - a * (z0 + z)))
        ends.append(np.quantile(means, at))
    assert (row["boot_low"], row["boot_high"]) == pytest.approx(ends, abs=0.03)


def test_where_bca_has_no_value_the_percentiles_stand() -> None:
    rows = statistics.resampling([np.array([0.0, 1.0]), np.array([0.0, 0.0, 0.5])])
    assert rows[["boot_low", "boot_high"]].notna().all(axis=None)
    assert rows.loc[0, ["boot_low", "boot_high"]].tolist() == [0.0, 1.0]


@settings(deadline=None, max_examples=40)
@given(st.lists(SAMPLES, min_size=1, max_size=4))
def test_a_sample_is_estimated_the_same_alone_and_among_others(samples: list[list[float]]) -> None:
    for kind in (statistics.estimates, statistics.resampling):
        together = kind([np.array(sample) for sample in samples])
        for i, sample in enumerate(samples):
            alone = kind([np.array(sample)]).iloc[0]
            assert together.iloc[i].tolist() == pytest.approx(alone.tolist(), nan_ok=True)


def test_samples_too_many_for_memory_are_done_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = list(np.random.default_rng(0).normal(size=(7, 5)))
    whole = statistics.resampling(samples)
    monkeypatch.setattr(statistics, "_MOST_NUMBERS", 5 * 500 * 2)
    pd.testing.assert_frame_equal(statistics.resampling(samples), whole)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 1) | st.none(), max_size=8))
def test_holm_is_that_of_a_loop(p: list[float | None]) -> None:
    found = statistics.holm(pd.Series(p, dtype="float64"))
    tested = sorted((value, i) for i, value in enumerate(p) if value is not None)
    worst = 0.0
    for rank, (value, i) in enumerate(tested):
        worst = max(worst, min(1.0, (len(tested) - rank) * value))
        assert found[i] == pytest.approx(worst)
    assert found.isna().tolist() == [value is None for value in p]
    known = [value for value in p if value is not None]
    if known:
        gc.freeze()  # it collects garbage at each call, here that of every test before
        assert found.dropna().tolist() == pytest.approx(multipletests(known, method="holm")[1].tolist())
        gc.unfreeze()


def test_tests_that_were_not_made_count_as_well() -> None:
    p = pd.Series([0.01, 0.02, None], dtype="float64")
    assert statistics.holm(p, 10)[:2].tolist() == pytest.approx([0.1, 0.18])
    assert statistics.holm(p, 1)[:2].tolist() == pytest.approx([0.02, 0.02])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-0.02, 0.02).map(lambda x: round(x, 5)), min_size=1, max_size=6))
def test_within_a_margin_is_where_the_whole_interval_is(sample: list[float]) -> None:
    data = [np.array(sample)]
    p = statistics.within(data, 0.01)["p_within"][0]
    row = statistics.estimates(data).iloc[0]
    if len(sample) == 1:
        assert math.isnan(p)
    elif max(sample) - min(sample) <= 1e-12:
        assert p == (0.5 ** (len(sample) - 1) if abs(sample[0]) < 0.01 else 1)
    else:
        assert (p < 0.05) == (row["low"] > -0.01 and row["high"] < 0.01)
        error = stdlib.stdev(sample) / math.sqrt(len(sample))
        nearest = (0.01 - abs(stdlib.fmean(sample))) / error
        assert p == pytest.approx(min(1.0, 2 * stdtr(len(sample) - 1, -nearest)), abs=1e-9)


def test_a_mean_over_settings_is_over_the_same_ones_in_every_seed() -> None:
    def left(gone: set[tuple[str, int]], seeds: int, settings: str) -> set[tuple[str, int]]:
        rows = [key for key in itertools.product(settings, range(seeds)) if key not in gone]
        table = statistics.whole(pd.DataFrame(rows, columns=["setting", "seed"]))
        return set(table.itertuples(index=False, name=None))

    every = set(itertools.product("abcd", range(3)))
    assert left(set(), 3, "abcd") == every
    assert left({("b", 2)}, 3, "abcd") == {key for key in every if key[0] != "b"}  # 9 rows rather than 8
    assert left({("b", 2)}, 5, "ab") == set(itertools.product("ab", (0, 1, 3, 4)))  # 8 rather than 5
    assert left({("a", 0), ("b", 1)}, 2, "ab") == set()


def test_a_comparison_is_that_of_a_loop_over_settings_and_levels() -> None:
    table = grid(seeds=4, levels=3, settings=("lr=0.1", "lr=1"))
    found = statistics.compare(table)
    assert len(found) == 2 * 3
    for row in found.to_dict("records"):
        rows = [r for r in table.to_dict("records") if (r["setting"], r["level"]) == (row["setting"], row["level"])]
        d = [r["left"] - r["right"] for r in rows]
        half = stdtrit(3, 0.975) * stdlib.stdev(d) / 2
        assert row["n"] == 4
        assert row["remaining"] == pytest.approx(0.5 ** row["level"])
        assert row["left"] == pytest.approx(stdlib.fmean(r["left"] for r in rows))
        assert row["difference"] == pytest.approx(stdlib.fmean(d))
        assert (row["low"], row["high"]) == pytest.approx((stdlib.fmean(d) - half, stdlib.fmean(d) + half))


def test_two_pairs_of_one_seed_are_one_observation() -> None:
    table = pd.concat([grid(3, 1), grid(3, 1, seed=1)])
    found = statistics.compare(table).iloc[0]
    d = [stdlib.fmean(table.loc[table["seed"].eq(seed), "difference"]) for seed in range(3)]
    assert found["n"] == 3
    assert found["sd"] == pytest.approx(stdlib.stdev(d))


def test_one_seed_has_a_difference_and_no_interval() -> None:
    found = statistics.compare(pairs({("", 0, 0): (0.9, 0.8)}), resampled=True).iloc[0]
    assert (found["n"], found["difference"]) == (1, pytest.approx(0.1))
    assert found[["sd", "low", "high", "boot_low", "p", "p_flip"]].isna().all()


def test_identical_floats_are_no_evidence_and_no_warning() -> None:
    same = statistics.compare(pairs({("", seed, 0): (0.9, 0.9) for seed in range(3)})).iloc[0]
    assert (same["low"], same["high"], same["p"]) == (0, 0, 1)
    # 0.9713 - 0.9712 and 0.8713 - 0.8712 differ in the last bit only: a t test would make them certain
    shifted = statistics.compare(pairs({("", 0, 0): (0.9713, 0.9712), ("", 1, 0): (0.8713, 0.8712)})).iloc[0]
    assert shifted["p"] == 0.5
    assert shifted["low"] == pytest.approx(1e-4)


def test_no_pairs_give_an_empty_table() -> None:
    none = pairs({})
    assert statistics.compare(none).empty
    assert statistics.area(none).empty
    assert statistics.matching(none, 0.01).empty


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.02, 0.9), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6))
def test_the_area_is_that_of_a_sum_of_trapezoids(steps: list[tuple[float, float, float]]) -> None:
    remaining, rows = 1.0, []
    for level, (kept, left, right) in enumerate([(1.0, 0.5, 0.5), *steps]):
        remaining *= kept
        rows.append(("", 0, level, remaining, left, right, left - right))
    table = pd.DataFrame(rows, columns=pairs({}).columns)
    found = statistics.area(table).iloc[0]
    sums = [0.0, 0.0]
    for before, after in itertools.pairwise(rows):
        width = math.log(before[3]) - math.log(after[3])
        sums = [total + width * (before[at] + after[at]) / 2 for total, at in zip(sums, (4, 5), strict=True)]
    length = -math.log(remaining)
    assert (found["left"], found["right"]) == pytest.approx((sums[0] / length, sums[1] / length))
    assert found["difference"] == pytest.approx(found["left"] - found["right"], abs=1e-9)


def test_the_area_of_a_flat_curve_is_its_height_and_a_short_one_is_left_out() -> None:
    flat = {("", 0, level): (0.9, 0.8) for level in range(4)}
    short = {("", 1, level): (0.5, 0.4) for level in range(3)}
    lone = {("other", 0, 0): (0.5, 0.4)}
    found = statistics.area(pairs(flat | short | lone))
    assert found["seed"].tolist() == [0]
    assert found.loc[0, ["left", "right", "difference"]].tolist() == pytest.approx([0.9, 0.8, 0.1])


def test_an_area_ends_at_the_floor_between_two_levels() -> None:
    table = pairs({("", seed, level): (0.9 - 0.1 * level, 0.5) for seed in (0, 1) for level in range(4 - seed)})
    found = statistics.area(table, floor=0.5**1.5)  # seed 1 lacks the last level, which lies below
    assert found["seed"].tolist() == [0, 1]
    at = [0.9, 0.8, 0.75]
    wanted = ((at[0] + at[1]) / 2 + 0.5 * (at[1] + at[2]) / 2) / 1.5
    assert found["left"].tolist() == pytest.approx([wanted] * 2)
    assert found["remaining"].tolist() == pytest.approx([0.5**1.5] * 2)
    assert statistics.area(table, floor=0.5**3)["seed"].tolist() == [0]
    assert statistics.area(table, floor=0.01).empty


@pytest.mark.parametrize("margin", [0.0, 0.004, 0.02])
def test_matching_walks_down_until_a_bound_fails(margin: float) -> None:
    rng = np.random.default_rng(3)
    drop = [0.0, 0.0, -0.002, -0.012, 0.001, -0.05]
    table = pairs(
        {
            ("init=a", seed, level): (0.97 + drop[level] + rng.normal(0, 0.002), 0.97)
            for seed in range(5)
            for level in range(6)
        }
    )
    found = statistics.matching(table, margin).iloc[0]
    good = []
    for level in range(1, 6):
        d = table.loc[table["level"].eq(level), "difference"].tolist()
        good.append(stdlib.fmean(d) - stdtrit(4, 0.95) * stdlib.stdev(d) / math.sqrt(5) > -margin)
    run = len(list(itertools.takewhile(bool, good)))
    assert found["remaining"] == 0.5**run
    assert found["deepest"] == min([1.0, *(0.5 ** (i + 1) for i, ok in enumerate(good) if ok)])
    assert (found["n"], found["lowest"]) == (5, 0.5**5)


def test_matching_says_nothing_for_one_seed_and_takes_ragged_levels() -> None:
    one = {("one", 0, level): (0.97, 0.97) for level in range(3)}
    ragged = {("two", seed, level): (0.97 + 1e-3 * seed, 0.97) for seed in range(3) for level in range(2 + seed)}
    found = statistics.matching(pairs(one | ragged), 0.01).set_index("setting")
    assert math.isnan(found.loc["one", "remaining"])
    assert found.loc["two", "remaining"] == 0.25  # level 3 has one seed, so no bound
    assert found.loc["two", "lowest"] == 0.125


@settings(deadline=None, max_examples=30)
@given(st.floats(0.2, 30), st.sampled_from([1, 15]))
def test_the_seeds_needed_are_the_fewest_with_enough_power(effect: float, tests: int) -> None:
    n = statistics.seeds_needed(1.0, effect, tests=tests)
    assert _power(effect, int(n), tests) >= 0.8 - 1e-3
    assert n == 2 or _power(effect, int(n) - 1, tests) < 0.8 + 1e-3


def _power(effect: float, n: int, tests: int) -> float:
    """Integrate over the standard deviation: P(|Z + effect sqrt n| > t s), s^2 chi-square over its degrees."""
    df, limit = n - 1, stdtrit(n - 1, 1 - 0.025 / tests)
    variance = np.linspace(1e-9, 60 + 4 * df, 400_001)
    log = (df / 2 - 1) * np.log(variance) - variance / 2 - df / 2 * math.log(2) - math.lgamma(df / 2)
    edge, shift = limit * np.sqrt(variance / df), effect * math.sqrt(n)
    normal = stdlib.NormalDist()
    at = np.linspace(-60, 60, 24_001)
    cdf = np.interp([edge - shift, -edge - shift], at, [normal.cdf(z) for z in at])
    beyond = 1 - cdf[0] + cdf[1]
    if df == 1:  # the density has a pole at 0, where everything is beyond: integrate over its root instead
        root = np.linspace(0, 12, 400_001)
        edge = limit * root
        cdf = np.interp([edge - shift, -edge - shift], at, [normal.cdf(z) for z in at])
        return float(np.trapezoid((1 - cdf[0] + cdf[1]) * math.sqrt(2 / math.pi) * np.exp(-(root**2) / 2), root))
    return float(np.trapezoid(beyond * np.exp(log), variance))


@pytest.mark.parametrize(
    ("sd", "difference", "n"),
    [(1.0, 0.5, 34), (1.0, 1.0, 10), (0.0, 0.1, 2), (1.0, 1e6, 2), (1.0, 1e-6, math.inf)],
)
def test_seeds_needed_at_known_points(sd: float, difference: float, n: float) -> None:
    assert statistics.seeds_needed(sd, difference) == n  # 34 and 10: G*Power's, paired t test, two tails


@pytest.mark.parametrize(("sd", "difference"), [(math.nan, 0.1), (1.0, 0.0), (0.0, 0.0)])
def test_seeds_needed_is_null_where_nothing_is_known(sd: float, difference: float) -> None:
    assert math.isnan(statistics.seeds_needed(sd, difference))
