"""How often what the report says is wrong, and how often it sees what is there: studies with known effects, made up.

    python benchmarks/simulate_report.py        prints a table and writes benchmarks/results/analysis-words.md

A study is an axis of 2, 4 or 7 choices in 4 settings, so 4, 24 or 84 pairs in all, with 3, 5 or 10 seeds. A cell's mean
accuracy is its choice's, plus what all cells of its seed share, plus its own noise of 0.1 points. Each study goes
through the page's own functions, `answers.effects`, `answers.in_settings` and `answers.dependences`. The generator's
seed is fixed, so that the same versions of numpy and scipy give the same table.
"""

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from multirun_analysis import metrics
from multirun_analysis.report import answers
from multirun_analysis.report.answers import BETTER

ACCURACY = metrics.of("test_accuracy")

CHOICES, SEEDS, SETTINGS = (2, 4, 7), (3, 5, 10), 4

# Standard deviations, as parts: of a cell, and of what the cells of a seed share.
NOISE, SHARED = 0.001, 0.002

# The size of the effects that should be seen, as parts: 0.3 points.
EFFECT = 0.003

RESULT = Path(__file__).parent / "results" / "analysis-words.md"


def studies(rng: np.random.Generator, n: int, means: Sequence[float], seeds: int, *, uneven: bool) -> pd.DataFrame:
    """Return the areas of n made-up studies, as `choices.contests` does; each study is an axis, so a family, by itself.

    Choice i has the mean accuracy means[i]. uneven: the noise of the last choice is ten times that of the others, as of
    one that sometimes fails.
    """
    noise = np.full((len(means), 1, 1), NOISE)
    noise[-1] *= 10 if uneven else 1
    shape = (n, len(means), SETTINGS, seeds)
    cells = 0.97 + np.array(means)[:, None, None] + noise * rng.standard_normal(shape)
    cells += SHARED * rng.standard_normal((n, 1, 1, seeds))
    pairs = list(itertools.combinations(range(len(means)), 2))
    axes = [np.arange(length) for length in (n, len(pairs), SETTINGS, seeds)]
    number, pair, setting, seed = (grid.ravel() for grid in np.meshgrid(*axes, indexing="ij"))
    one, two = np.array(pairs)[pair].T
    table = pd.DataFrame({"axis": number, "left_name": one, "right_name": two, "setting": setting, "seed": seed})
    table = table.assign(level=15, remaining=0.035, key=setting, tests=len(pairs))
    table = table.assign(left=cells[number, one, setting, seed], right=cells[number, two, setting, seed])
    return table.assign(difference=table["left"] - table["right"])


def dependences(areas: pd.DataFrame) -> pd.DataFrame:
    """Return what the page tells of the dependence of each study's effects on the setting."""
    cells = pd.DataFrame({"key": range(SETTINGS), "lr": range(SETTINGS), "status": "done"})
    lr = areas[:1].assign(axis="lr", left_name=0, right_name=1)
    every = (pd.concat([study, lr]) for _, study in areas.groupby("axis"))
    return pd.concat([answers.dependences(one, cells, ACCURACY) for one in every])


def wrong(found: pd.DataFrame, means: Sequence[float]) -> float:
    """Return the part of studies whose effects call any choice better that is not."""
    left, right = (np.array(means)[found[name].to_numpy(dtype="int64")] for name in ("left_name", "right_name"))
    said = found["word"].eq(BETTER) & (np.sign(left - right) != np.sign(found["difference"].to_numpy()))
    return float(said.groupby(found["axis"]).any().mean())


def rates(n_choices: int, seeds: int, n: int, *, uneven: bool = False) -> dict[str, float]:
    """Return how often, in n studies of each kind, the page is wrong somewhere or sees what is there.

    Three kinds: no choice has an effect; the first half is better by EFFECT; the first is better by just the margin.
    """
    rng = np.random.default_rng([n_choices, seeds, uneven])
    none = [0.0] * n_choices
    half = [EFFECT * (i < n_choices // 2) for i in range(n_choices)]
    edge = [ACCURACY.margin * (i == 0) for i in range(n_choices)]
    areas = studies(rng, n, none, seeds, uneven=uneven)
    effects = answers.effects(areas, ACCURACY)
    depends = dependences(areas)
    found = {
        "none: better, over all": wrong(effects, none),
        "none: better, in a setting": wrong(answers.in_settings(areas, ACCURACY, resampled=False), none),
        "none: depends": float(depends["word"].eq(BETTER).groupby(depends["axis"]).any().mean()),
        "none: small": float(effects["p_small"].lt(answers.ALPHA).mean()),
    }
    areas = studies(rng, n, half, seeds, uneven=uneven)
    effects = answers.effects(areas, ACCURACY)
    found["half: wrong"] = wrong(effects, half)
    there, alone = (
        table[table["left_name"].lt(n_choices // 2) & table["right_name"].ge(n_choices // 2)]
        for table in (effects, answers.in_settings(areas, ACCURACY, resampled=False))
    )
    found |= {
        "half: better, over all": float(there["word"].eq(BETTER).mean()),
        "half: excludes 0": float(there["p"].lt(answers.ALPHA).mean()),
        "half: better, in a setting": float(alone["word"].eq(BETTER).mean()),
    }
    effects = answers.effects(studies(rng, n, edge, seeds, uneven=uneven), ACCURACY)
    first = effects[effects["left_name"].eq(0)]
    return found | {"edge: small": float(first["p_small"].lt(answers.ALPHA).groupby(first["axis"]).any().mean())}


def report(n: int) -> str:
    """Return the tables as Markdown."""
    found = {
        (n_choices, seeds, uneven): rates(n_choices, seeds, n, uneven=uneven)
        for uneven in (False, True)
        for n_choices in CHOICES
        for seeds in SEEDS
        if not uneven or seeds == SEEDS[0]
    }
    wrong = ("none: better, over all", "none: better, in a setting", "none: depends", "half: wrong", "edge: small")
    right = ("half: better, over all", "half: excludes 0", "half: better, in a setting", "none: small")
    return f"""# How often the report's words are wrong, and how often they see what is there

Percent of {n:,} made-up studies of each kind, by `benchmarks/simulate_report.py`: an axis of 2, 4 or 7 choices in
{SETTINGS} settings. A cell's noise is {100 * NOISE:g} points, beside what the cells of a seed share; the standard error
of 5 percent is {np.sqrt(5 * 95 / n):.1f}. "Uneven" studies have a choice with ten times the noise.

## Wrong somewhere in a study

Each column is one family of tests and should be at most 5. *Better* is said where no choice differs (over all settings,
in any one of them), where only half of the pairs do, a *dependence* on the setting where there is none, and *no effect
larger than {100 * ACCURACY.margin:g} points*, or *better by less* than that, where the effect is just that.

| pairs | seeds | better, over all | better, in a setting | depends | better, half equal | no effect larger |
|---|---|---|---|---|---|---|
{_rows(found, wrong)}

## Seen

Of the pairs that differ by {100 * EFFECT:g} points: told *better* over all settings; with an interval that excludes
0, before the correction; told *better* in a setting by itself. Of pairs that are equal: told to be within
{100 * ACCURACY.margin:g} points.

| pairs | seeds | better, over all | interval excludes 0 | better, in a setting | no effect larger |
|---|---|---|---|---|---|
{_rows(found, right)}
"""


def _rows(found: dict[tuple[int, int, bool], dict[str, float]], columns: Sequence[str]) -> str:
    lines = []
    for (n, seeds, uneven), rate in found.items():
        name = f"{n * (n - 1) // 2 * SETTINGS}{', uneven' if uneven else ''}"
        lines.append(f"| {name} | {seeds} | " + " | ".join(f"{100 * rate[column]:.1f}" for column in columns) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--studies", type=int, default=400)
    text = report(parser.parse_args().studies)
    RESULT.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
