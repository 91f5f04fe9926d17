"""Effects, dependences and words: against statsmodels' analysis of variance, loops, and the truth of made-up data."""

import dataclasses
import itertools
import math
import statistics as stdlib

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.stats.anova import AnovaRM

from multirun_analysis import statistics
from multirun_analysis.load import Study
from multirun_analysis.metrics import of
from multirun_analysis.report import answers, choices, words
from multirun_analysis.report.answers import ALIKE, BETTER, LEANS, ONE_SEED, SMALL, SMALL_ALONE, UNDECIDED

ACCURACY = of("test_accuracy")

INITS, RATES = ("a", "b", "c"), ("0.1", "1")


def scores(seeds: int = 4, seed: int = 0) -> dict[tuple[str, str, int], float]:
    """Draw a score for each (init, lr, seed)."""
    rng = np.random.default_rng(seed)
    return {key: 0.9 + rng.normal(0, 0.01) for key in itertools.product(INITS, RATES, range(seeds))}


def areas(found: dict[tuple[str, str, int], float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make the areas and the cells of a study of two axes."""
    rows = []
    for (one, two), lr in itertools.product(itertools.combinations(INITS, 2), RATES):
        rows += [
            ("init", one, two, f"lr={lr}", seed, found[one, lr, seed], found[two, lr, seed], f"{one} {lr} {seed}", 3)
            for seed in sorted({key[2] for key in found})
            if (one, lr, seed) in found and (two, lr, seed) in found
        ]
    one, two = RATES
    rows += [
        (
            "lr",
            one,
            two,
            f"init={init}",
            seed,
            found[init, one, seed],
            found[init, two, seed],
            f"{init} {one} {seed}",
            1,
        )
        for init, rate, seed in found
        if rate == one and (init, two, seed) in found
    ]
    names = ["axis", "left_name", "right_name", "setting", "seed", "left", "right", "key", "tests"]
    table = pd.DataFrame(rows, columns=names).assign(level=5, remaining=0.3)
    cells = pd.DataFrame([(f"{i} {r} {s}", i, r, s, "done") for i, r, s in found])
    cells.columns = ["key", "init", "lr", "seed", "status"]
    return table.assign(difference=table["left"] - table["right"])[choices._COLUMNS], cells


def test_an_effect_over_all_settings_is_that_of_a_loop() -> None:
    found = scores()
    effects = answers.effects(areas(found)[0], ACCURACY).set_index(["left_name", "right_name"])
    row = effects.loc[("a", "c")]
    means = [stdlib.fmean(found["a", lr, seed] - found["c", lr, seed] for lr in RATES) for seed in range(4)]
    assert row["difference"] == pytest.approx(stdlib.fmean(means))
    assert row["sd"] == pytest.approx(stdlib.stdev(means))
    assert (row["n"], row["settings"], row["of"], row["tests"]) == (4, 2, 2, 3)
    wanted = statistics.seeds_needed(row["sd"], row["difference"], tests=3)
    assert math.isnan(row["seeds"]) if row["word"] not in (LEANS, UNDECIDED) else row["seeds"] == wanted
    assert effects["word"].isin([LEANS, UNDECIDED]).any()


def test_seeds_are_reckoned_for_no_difference_too_small_to_be_worth_seeing() -> None:
    table = areas(scores())[0]
    for seen in (0.0, 0.5):  # below all differences, and above them
        rows = answers.effects(table, dataclasses.replace(ACCURACY, seen=seen))
        rows = rows[rows["word"].isin([LEANS, UNDECIDED])]
        assert len(rows)
        for sd, size, tests, seeds in rows[["sd", "difference", "tests", "seeds"]].itertuples(index=False):
            assert seeds == statistics.seeds_needed(sd, max(abs(size), seen), tests=tests)


def test_each_question_is_a_family_of_its_own() -> None:
    table = areas(scores())[0]
    for found in (answers.effects(table, ACCURACY), answers.in_settings(table, ACCURACY)):
        for _, rows in found.groupby("axis"):
            assert rows["p_holm"].tolist() == pytest.approx(statistics.holm(rows["p"]).tolist())
            assert rows["p_small"].tolist() == pytest.approx(statistics.holm(rows["p_within"]).tolist())
            assert set(rows["tests"]) == {len(rows)}


def test_effects_and_intervals_are_those_of_a_mixed_model() -> None:
    """A random intercept for each seed, on the balanced grid and on the means of a pair within each seed."""
    rng = np.random.default_rng(1)
    shared = {seed: rng.normal(0, 0.02) for seed in range(8)}
    known = {"a": 0.0, "b": 0.004, "c": -0.002}
    found = {key: 0.9 + shared[key[2]] + known[key[0]] + rng.normal(0, 0.003) for key in scores(seeds=8)}
    rows = [(init, lr, seed, 100 * score) for (init, lr, seed), score in found.items()]
    table = pd.DataFrame(rows, columns=["init", "lr", "seed", "score"])
    means = table.groupby(["init", "seed"], as_index=False)["score"].mean()
    effects = answers.effects(areas(found)[0], ACCURACY)
    for row in effects[effects["axis"].eq("init")].to_dict("records"):
        one, two = row["left_name"], row["right_name"]
        contrast = f"C(init, Treatment('{two}'))"
        grid = smf.mixedlm(f"score ~ {contrast} + lr", table, groups="seed").fit()
        assert 100 * row["difference"] == pytest.approx(grid.params[f"{contrast}[T.{one}]"], abs=1e-9)
        pair = smf.mixedlm(f"score ~ {contrast}", means[means["init"].isin([one, two])], groups="seed").fit()
        half = stats.t.ppf(0.975, 7) * pair.bse[f"{contrast}[T.{one}]"]
        ends = 100 * row["difference"] - half, 100 * row["difference"] + half
        assert (100 * row["low"], 100 * row["high"]) == pytest.approx(
            ends, abs=1e-3 * half
        )  # as far as its search goes


def test_effects_and_dependences_are_those_of_an_analysis_of_variance() -> None:
    found = {(init, lr, seed): value for (init, lr, seed), value in scores(6).items() if init != "c"}
    long = pd.DataFrame([(*key, value) for key, value in found.items()], columns=["init", "lr", "seed", "score"])
    table = AnovaRM(long, "score", "seed", within=["init", "lr"]).fit().anova_table["Pr > F"]
    with_c = found | {("c", lr, seed): found["a", lr, seed] for lr in RATES for seed in range(6)}
    rows, cells = areas(with_c)
    rows = rows[~rows[["left_name", "right_name"]].eq("c").any(axis=1) & rows["setting"].ne("init=c")]
    effects = answers.effects(rows, ACCURACY).set_index("axis")["p"]
    assert effects["init"] == pytest.approx(table["init"])
    assert effects["lr"] == pytest.approx(table["lr"])
    (dependence,) = answers.dependences(rows, cells, ACCURACY)["p"]
    assert dependence == pytest.approx(table["init:lr"])


def test_dependences_are_differences_of_differences() -> None:
    found = scores()
    rows, cells = areas(found)
    table = answers.dependences(rows, cells, ACCURACY)
    assert set(table["axis"]) == {"init"}  # the axis with more choices; the other way round says the same
    assert len(table) == 3
    assert set(table["tests"]) == {3}
    row = table.set_index(["left_name", "right_name"]).loc[("b", "c")]
    here, there = row["here"], row["there"]
    twice = [
        (found["b", here, s] - found["c", here, s]) - (found["b", there, s] - found["c", there, s]) for s in range(4)
    ]
    assert row["difference"] == pytest.approx(stdlib.fmean(twice))
    assert row["sd"] == pytest.approx(stdlib.stdev(twice))


def test_a_missing_cell_leaves_out_its_setting_or_its_seed() -> None:
    found = scores(3)
    del found["b", "1", 2]
    effects = answers.effects(areas(found)[0], ACCURACY).set_index(["left_name", "right_name"])
    assert effects.loc[("a", "b"), ["n", "settings", "of"]].tolist() == [2, 2, 2]
    assert effects.loc[("a", "c"), ["n", "settings", "of"]].tolist() == [3, 2, 2]


def test_the_mixed_study_is_answered(mixed: Study) -> None:
    table, _ = choices.contests(choices.ended(mixed.levels), ACCURACY)
    effects, cells = answers.effects(table, ACCURACY), mixed.cells
    assert effects.groupby("axis")["settings"].first().to_dict() == {"arm": 8, "init": 2, "lr": 4}
    assert set(effects["n"]) == {3}
    found = answers.dependences(table, cells, ACCURACY)
    pairs = found.groupby(["axis", "other"]).size().to_dict()
    assert pairs == {("arm", "init"): 6, ("arm", "lr"): 1, ("init", "lr"): 6}
    said = dict(words.headline(effects, choices.standings(mixed.levels, ACCURACY), ACCURACY))
    assert list(said) == ["Ticket against controls", "lr", "init", "Ticket against dense"]
    assert said["lr"].startswith("0.0012 is better than 0.1 by 1.")
    assert "(3 seeds, averaged over 4 settings)" in said["lr"]
    assert said["Ticket against controls"].startswith("The ticket is better than reinit by ")


def one(low: float, high: float, p: float, p_holm: float, p_small: float, **more: object) -> words.Row:
    row = {"axis": "init", "left_name": "a", "right_name": "b", "difference": (low + high) / 2, "low": low}
    row |= {"high": high, "p": p, "p_holm": p_holm, "p_small": p_small, "n": 3, "settings": 4, "of": 4, "tests": 15}
    return row | {"seeds": 7.0} | more


@pytest.mark.parametrize(
    ("row", "short", "long"),
    [
        (
            one(0.004, 0.006, 0.001, 0.01, 1, word=BETTER),
            "a is better",
            "a is better than b by 0.50 points [0.40 to 0.60] (3 seeds, averaged over 4 settings, corrected for 15"
            " comparisons).",
        ),
        (
            one(-0.003, -0.001, 0.001, 0.01, 0.01, word=BETTER),
            "b is better, by less than 0.5 points",
            "b is better than a by 0.20 points [0.10 to 0.30] ",
        ),
        (
            one(-0.001, 0.002, 0.5, 1, 0.01, word=SMALL),
            "no effect larger than 0.5 points",
            "no effect larger than 0.5 points: a less b is 0.05 points [−0.10 to +0.20] ",
        ),
        (
            one(0.125, 0.187, 0.01, 0.1, 1, word=LEANS),
            "a is ahead: the interval excludes 0, but not after correction for 15; a difference like this wants 7"
            " seeds",
            "a is ahead of b by 15.60 points [12.50 to 18.70]; the interval excludes 0, but not after correction; a"
            " difference like this wants 7 seeds (3 seeds, ",
        ),
        (
            one(-0.001, 0.004, 0.3, 1, 0.2, word=SMALL_ALONE),
            "the interval is within ±0.5 points, but not after correction for 15",
            "the interval of a less b, 0.15 points [−0.10 to +0.40], is within ±0.5 points, but not after correction ",
        ),
        (
            one(-0.1, 0.2, 0.3, 1, 1, word=UNDECIDED),
            "undecided; a difference like this wants 7 seeds",
            "undecided: a less b is 5.00 points [−10.00 to +20.00]; a difference like this wants 7 seeds ",
        ),
        (
            one(-0.0192, 0.02, 0.9, 1, 1, word=UNDECIDED),
            "undecided; a difference of 0.1 points wants 7 seeds",
            "undecided: a less b is 0.04 points [−1.92 to +2.00]; a difference of 0.1 points wants 7 seeds ",
        ),
        (
            one(math.nan, math.nan, 1, 1, 1, word=ONE_SEED, difference=0.01, n=1),
            "one seed: no interval",
            "a is ahead of b by 1.00 points (1 seed, so no interval, averaged over 4 settings).",
        ),
        (one(0, 0, 1, 1, 1, word=ALIKE), "alike in every seed", "a and b are alike in every seed "),
    ],
)
def test_words_tell_apart_what_the_data_tell(row: words.Row, short: str, long: str) -> None:
    assert words.tells(row, ACCURACY) == short
    assert words.question(pd.DataFrame([row]), ACCURACY).startswith(long)


def test_an_effect_of_the_arms_that_points_the_other_way_says_so() -> None:
    arms = {"axis": "arm", "left_name": "ticket", "right_name": "random_mask", "tests": 1}
    worse = one(-0.006, -0.004, 0.001, 0.001, 1, word=BETTER, **arms)
    assert words.tells(worse, ACCURACY) == "the effect points the other way: random mask is better"
    assert words.question(pd.DataFrame([worse]), ACCURACY) == (
        "The effect points the other way: random mask is better than the ticket by 0.50 points [0.40 to 0.60]"
        " (3 seeds, averaged over 4 settings)."
    )


def test_the_leader_of_many_is_told_against_each() -> None:
    table = pd.DataFrame(
        [
            one(0.004, 0.006, 0.001, 0.01, 1, word=BETTER, right_name="c"),
            one(-0.001, 0.002, 0.5, 1, 0.01, word=SMALL),
            one(0.002, 0.006, 0.01, 0.1, 1, word=LEANS, left_name="b", right_name="c"),
        ]
    )
    assert words.question(table, ACCURACY) == (
        "a leads the 2 others: better than c (than c by 0.50 points [0.40 to 0.60]); within 0.5 points of b (b: 0.05"
        " points [−0.10 to +0.20]) (3 seeds, averaged over 4 settings, corrected for 15 comparisons)."
    )


@pytest.mark.parametrize(
    ("effect", "says"),
    [
        (0.05, "The effect of init depends on lr: "),
        (0.0, "The effect of init does not depend on lr by more than 0.5 points; at most, "),
    ],
)
def test_whether_the_best_init_depends_on_the_learning_rate(effect: float, says: str) -> None:
    rng = np.random.default_rng(0)
    found = {key: 0.9 + rng.normal(0, 1e-4) + effect * (key[0] == "c" and key[1] == "1") for key in scores(5)}
    found |= {key: value + 0.01 for key, value in found.items() if key[0] == "a"}
    rows, cells = areas(found)
    said = words.dependence(
        answers.dependences(rows, cells, ACCURACY), answers.leaders(rows, cells, "init", "lr", ACCURACY), ACCURACY
    )
    assert said.startswith(says)
    assert said.endswith("In the lead: a at lr=0.1, c at lr=1." if effect else "In the lead at each lr: a.")


def test_dense_says_how_far_and_where_never() -> None:
    table = pd.DataFrame({"arm": "ticket", "matches": [0.036, 0.21, 1.0], "n": 3})
    assert words.dense(table, ACCURACY) == (
        "The ticket stays less than 0.5 points below it down to 3.6 % of the weights at best and 21 % at worst; in 1"
        " not even after one pruning (3 settings, 3 seeds, tested at 95 %)."
    )
    assert words.dense(table[2:], ACCURACY).startswith(
        "At no level is the ticket told to be less than 0.5 points below it (3 s"
    )


def test_a_sentence_names_a_few_of_many_choices() -> None:
    rows = [
        {"axis": "init", "left_name": "a", "right_name": f"b{i}", "setting": "", "seed": seed, "tests": 9}
        | {"left": 0.98 + 0.0001 * seed, "right": 0.97 - 0.001 * i, "level": 5, "remaining": 0.3, "key": "a"}
        for i in range(9)
        for seed in range(5)
    ]
    table = pd.DataFrame(rows).assign(difference=lambda df: df["left"] - df["right"])
    says = words.question(answers.effects(table, ACCURACY), ACCURACY)
    assert says.startswith("a leads the 9 others: better than b0, b1, b2, b3, b4 and 4 more (than b0 by 1.02 points")
