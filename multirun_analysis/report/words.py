"""What the data tell, in sentences: a difference with its interval, seeds and settings, and how sure that is."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ltsweep.schema import TICKET
from multirun_analysis.metrics import Metric, words
from multirun_analysis.report import answers, form
from multirun_analysis.report.answers import ALIKE, BETTER, LEANS, ONE_SEED, SMALL, SMALL_ALONE, UNDECIDED
from multirun_analysis.report.choices import ARM

# A row of a table of `answers.told`.
Row = dict[str, Any]

# Choices that a sentence names; the table below it has them all.
_MOST_NAMES = 6

_ARMS = "Ticket against controls"

_UNCORRECTED = "the interval excludes 0, but not after correction"

_OTHER_WAY = "the effect points the other way"


def headline(effects: pd.DataFrame, standings: pd.DataFrame, metric: Metric) -> list[tuple[str, str]]:
    """Return what a study says, (question, sentence): the arms, the axes, the greatest effect first, and dense."""
    said = [
        (_ARMS if axis == ARM else str(axis), question(found, metric))
        for axis, found in in_order(effects).groupby("axis", sort=False)
    ]
    return [
        *said,
        *([("Ticket against dense", dense(standings, metric))] if standings["matches"].notna().any() else []),
    ]


def in_order(effects: pd.DataFrame) -> pd.DataFrame:
    """Return effects, those of the arms first, then axis by axis, the greatest effect first."""
    size = effects["difference"].abs()
    greatest = size.groupby(effects["axis"]).transform("max").where(effects["axis"].ne(ARM), math.inf)
    return effects.assign(_greatest=-greatest, _size=-size).sort_values(["_greatest", "axis", "_size"], kind="stable")


def question(effects: pd.DataFrame, metric: Metric) -> str:
    """Return the answer to one question, the choices of an axis or the arms, in a sentence."""
    axis = str(effects["axis"].iloc[0])
    first = answers.leader(effects, metric)
    found = [_from(row, first, metric) for row in rows(effects) if first in (row["left_name"], row["right_name"])]
    says = _of_two(axis, found[0], metric) if len(found) == 1 else _of_many(axis, first, found, metric)
    return f"{says[0].upper() if axis == ARM else says[0]}{says[1:]} {_basis(found)}."


def _of_two(axis: str, row: Row, metric: Metric) -> str:
    left, right = _written(axis, row["left_name"]), _written(axis, row["right_name"])
    amount, margin = _amount(row, metric), form.margin(metric)
    less = f"{left} less {right}" if metric.higher else f"{right} less {left}"
    way = f"{_OTHER_WAY}: " if axis == ARM and row["left_name"] != TICKET else ""
    return {
        BETTER: f"{way}{left} is better than {right} by {amount}",
        SMALL: f"no effect larger than {margin}: {less} is {amount}",
        LEANS: f"{way}{left} is ahead of {right} by {amount}; {_UNCORRECTED}{_wanted(row, metric)}",
        SMALL_ALONE: f"the interval of {less}, {amount}, is within ±{margin}, but not after correction",
        ALIKE: f"{left} and {right} are alike in every seed",
        ONE_SEED: f"{way}{left} is ahead of {right} by {amount}",
        UNDECIDED: f"undecided: {way}{less} is {amount}{_wanted(row, metric)}",
    }[row["word"]]


def _of_many(axis: str, first: str, rows: list[Row], metric: Metric) -> str:
    margin = form.margin(metric)
    told = {word: [row for row in rows if row["word"] == word] for word in answers.WORDS}
    parts = []
    if told[BETTER]:
        least = min(told[BETTER], key=lambda row: row["difference"])
        parts.append(
            f"better than {_names(axis, told[BETTER])} (than {_name(axis, least)} by {_amount(least, metric)})"
        )
    if told[LEANS]:
        least = min(told[LEANS], key=lambda row: row["difference"])
        parts.append(
            f"ahead of {_names(axis, told[LEANS])} by intervals that exclude 0, but not after correction"
            f" (of {_name(axis, least)} by {_amount(least, metric)})"
        )
    if alike := [*told[SMALL], *told[ALIKE]]:
        most = max(alike, key=lambda row: row["high"])
        parts.append(f"within {margin} of {_names(axis, alike)} ({_name(axis, most)}: {_amount(most, metric)})")
    if told[SMALL_ALONE]:
        most = max(told[SMALL_ALONE], key=lambda row: row["high"])
        parts.append(
            f"within {margin} of {_names(axis, told[SMALL_ALONE])}, but not after correction"
            f" ({_name(axis, most)}: {_amount(most, metric)})"
        )
    for word, says in ((UNDECIDED, "undecided against"), (ONE_SEED, "ahead of")):
        if told[word]:
            most = max(told[word], key=lambda row: row["difference"])
            size = f"{_amount(most, metric)}{_wanted(most, metric)}"
            parts.append(f"{says} {_names(axis, told[word])} ({_name(axis, most)}: {size})")
    way = f"{_OTHER_WAY}: " if axis == ARM and first != TICKET else ""
    return f"{way}{_written(axis, first)} leads the {len(rows)} others: {'; '.join(parts)}"


def tells(row: Row, metric: Metric) -> str:
    """Return what the data tell of a row of a table of effects, in a few words."""
    margin, behind = form.margin(metric), metric.sign * row["difference"] < 0
    way = f"{_OTHER_WAY}: " if row["axis"] == ARM and behind else ""
    better = _written(row["axis"], row["right_name" if behind else "left_name"])
    small = f", by less than {margin}" if row["p_small"] < answers.ALPHA else ""
    return {
        BETTER: f"{way}{better} is better{small}",
        SMALL: f"no effect larger than {margin}",
        LEANS: f"{way}{better} is ahead: {_UNCORRECTED} for {row['tests']:.0f}{_wanted(row, metric)}",
        SMALL_ALONE: f"the interval is within ±{margin}, but not after correction for {row['tests']:.0f}",
        ALIKE: "alike in every seed",
        ONE_SEED: f"{way}one seed: no interval",
    }.get(str(row["word"]), f"{way}undecided{_wanted(row, metric)}")


def dependence(contrasts: pd.DataFrame, leaders: Mapping[str, str], metric: Metric) -> str:
    """Return whether the effect of one axis depends on another, in a sentence or two.

    contrasts: those of `answers.dependences` for the two axes. leaders: those of `answers.leaders`.
    """
    every = rows(contrasts.sort_values(["p_holm", "p"], kind="stable"))
    axis, other = str(every[0]["axis"]), str(every[0]["other"])
    most = max(every, key=lambda row: abs(row["difference"]))
    surest = next((row for row in every if row["word"] in (BETTER, LEANS)), every[0])
    margin = form.margin(metric)
    which = f"effect of {'the arm' if axis == ARM else axis}"
    if surest["word"] == BETTER:
        says = f"The {which} depends on {other}: {_contrast(surest, metric)}."
    elif (contrasts["n"] < 2).all():
        says = f"Whether the {which} depends on {other}, one seed cannot tell."
    elif (contrasts["p_small"] < answers.ALPHA).all():
        says = f"The {which} does not depend on {other} by more than {margin}; at most, {_contrast(most, metric)}."
    elif (contrasts["p_within"] < answers.ALPHA).all():
        says = (
            f"The {which} likely does not depend on {other} by more than {margin}: the intervals are within, but not"
            f" after correction; at most, {_contrast(most, metric)}."
        )
    elif surest["word"] == LEANS:
        says = f"The {which} may depend on {other}: {_contrast(surest, metric)}; {_UNCORRECTED}."
    else:
        size = f"{_contrast(most, metric)}{_wanted(most, metric)}"
        says = f"Whether the {which} depends on {other} is undecided; at most, {size}."
    names = {at: _written(axis, first) for at, first in leaders.items()}
    if len(set(names.values())) == 1:
        return f"{says} In the lead at each {other}: {next(iter(names.values()))}."
    return f"{says} In the lead: {', '.join(f'{first} at {other}={at}' for at, first in names.items())}."


def dense(standings: pd.DataFrame, metric: Metric) -> str:
    """Return how far the ticket stays within the margin of its dense network, over all settings."""
    margin = form.margin(metric)
    known = standings[standings["arm"].eq(standings["arm"].iloc[0]) & standings["matches"].notna()]
    found, n = known["matches"], int(known["n"].max())
    ever = found[found < 1]
    seeds = f"{form.several(n, 'seed')}, tested at 95 %"
    if ever.empty:
        return f"At no level is the ticket told to be less than {margin} {metric.worse} it ({seeds})."
    best, worst = form.remaining(ever.min()), form.remaining(ever.max())
    span = f"{best} of the weights" if best == worst else f"{best} of the weights at best and {worst} at worst"
    never = len(found) - len(ever)
    lacking = f"; in {never} not even after one pruning" if never else ""
    over = f"{len(found)} settings, " if len(found) > 1 else ""
    return f"The ticket stays less than {margin} {metric.worse} it down to {span}{lacking} ({over}{seeds})."


def rows(table: pd.DataFrame) -> list[Row]:
    """Return the rows of a table as mappings."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _from(row: Row, first: str, metric: Metric) -> Row:
    """Return a row as seen from the leading choice: its difference is positive where that is better."""
    if row["left_name"] != first:
        turned = {"left_name": row["right_name"], "right_name": row["left_name"], "difference": -row["difference"]}
        row = row | turned | {"low": -row["high"], "high": -row["low"]}
    if metric.higher:
        return row
    return row | {"difference": -row["difference"], "low": -row["high"], "high": -row["low"]}


def _amount(row: Row, metric: Metric) -> str:
    size, unit = form.size(row["difference"], metric), form.unit(metric)
    if math.isnan(row["low"]):
        return f"{size}{unit}"
    write = form.difference if row["low"] < 0 else form.size
    return f"{size}{unit} [{write(row['low'], metric)} to {write(row['high'], metric)}]"


def _basis(rows: list[Row]) -> str:
    """Return the n of a sentence: seeds, settings, and how many comparisons are corrected for."""
    seeds = sorted({int(row["n"]) for row in rows})
    settings, of = max(row["settings"] for row in rows), max(row["of"] for row in rows)
    tests = int(rows[0]["tests"])
    n = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"{seeds[0]}"
    says = [f"{n} seed{'s' if seeds[-1] > 1 else ', so no interval'}"]
    if of > 1:
        says.append(f"averaged over {settings if settings == of else f'{settings} of {of}'} settings")
    if tests > 1 and seeds[-1] > 1:
        says.append(f"corrected for {tests} comparisons")
    return f"({', '.join(says)})"


def _wanted(row: Row, metric: Metric) -> str:
    """Return how many seeds would tell, where more are wanted and so few that they might be run."""
    if not row["n"] < row["seeds"] < 1000:
        return ""
    less = abs(row["difference"]) < metric.seen
    sought = f"a difference of {form.seen(metric)}" if less else "a difference like this"
    return f"; {sought} wants {form.count(row['seeds'])} seeds"


def _contrast(row: Row, metric: Metric) -> str:
    left, right = (_written(row["axis"], row[side]) for side in ("left_name", "right_name"))
    here, there, both = (form.difference(row[name], metric) for name in ("left", "right", "difference"))
    says = (
        f"{left} less {right} is {here}{form.unit(metric)} at {row['other']}={row['here']} and"
        f" {there} at {row['other']}={row['there']}"
    )
    if math.isnan(row["low"]):
        return says
    n = f"{form.several(row['n'], 'seed')}, {form.several(row['tests'], 'comparison')}"
    return f"{says} (difference {both}, {form.interval(row['low'], row['high'], metric)}; {n})"


def _name(axis: str, row: Row) -> str:
    return _written(axis, row["right_name"])


def _written(axis: str, name: object) -> str:
    """Return the name of a choice; of an arm with its article, as words."""
    if axis != ARM:
        return str(name)
    return f"the {name}" if name == TICKET else words(str(name))


def _names(axis: str, rows: list[Row]) -> str:
    names = [_name(axis, row) for row in rows]
    if len(names) > _MOST_NAMES:
        names = [*names[: _MOST_NAMES - 1], f"{len(names) - _MOST_NAMES + 1} more"]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
