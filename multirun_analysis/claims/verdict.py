"""The verdict of a study on claims, with effect, interval and n. DataFrame in, DataFrame out."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ltsweep.schema import TICKET
from multirun_analysis import curves, metrics, pairing, statistics, view
from multirun_analysis.claims.read import AREA, Claim
from multirun_analysis.pairing import Side

# The verdicts, in the order in which the report counts them.
VERDICTS = ("supported", "contradicted", "undecided", "not tested")

# Columns of `judge`.
_COLUMNS = ["claim", "setting", "verdict", "effect", "low", "high", "n", "left", "right", "remaining", "why"]
# Relative slack at the ends of a range, which a file gives in rounded decimals.
_ROUNDING = 1e-9


def judge(levels: pd.DataFrame, claims: Sequence[Claim]) -> pd.DataFrame:
    """Return the verdict of a levels table on claims: one row for each claim and setting, in the order of the claims.

    Columns: `claim` (name)`, setting` (values of all else that varies, which are never averaged over)`, verdict` (one
    of VERDICTS)`, effect` (mean over seeds of left less right)`, low, high` (its 95 % t interval)`, n` (seeds)`, left,
    right` (means)`, remaining` (the least that was looked at)`, why` (what is lacking for a decision, else empty).

    A claim is decided where the whole interval fulfils it, or no part does. No correction is made for the number of
    claims: each was made before these records.
    """
    rows = [row for claim in claims for row in _verdicts(levels, claim)]
    return pd.DataFrame(rows, columns=_COLUMNS).astype({"n": "int64"})


def decide(claim: Claim, low: float, high: float) -> str:
    """Return the verdict by the interval of a claim's effect: `undecided` where it crosses a bound of the claim."""
    at_least, at_most = bounds(claim)
    if at_least < low and high < at_most:
        return "supported"
    return "contradicted" if high < at_least or low > at_most else "undecided"


def bounds(claim: Claim) -> tuple[float, float]:
    """Return the bounds between which the effect has to be for the claim to hold."""
    below, above = claim.value - claim.margin, claim.value + claim.margin
    return {
        "greater": (above, math.inf),
        "not_less": (below, math.inf),
        "less": (-math.inf, below),
        "not_greater": (-math.inf, above),
        "equal": (below, above),
    }[claim.direction]


def _verdicts(levels: pd.DataFrame, claim: Claim) -> list[dict[str, object]]:
    pairs = _pairs(levels, claim)
    if isinstance(pairs, str):
        return [_row(claim, why=pairs)]
    rows = []
    for setting, found in pairs.groupby("setting", observed=True, sort=True):
        looked_at = _at(found, claim)
        if isinstance(looked_at, str):
            rows.append(_row(claim, setting=setting, why=looked_at))
        else:
            rows.append(_decided(claim, str(setting), looked_at))
    return rows


def _pairs(levels: pd.DataFrame, claim: Claim) -> pd.DataFrame | str:
    """Return all pairs of a claim, or what the study lacks; `pair` numbers those that are averaged within a seed."""
    here = levels[pairing.holds(levels, claim.where)]
    if here.empty:
        return f"no such cells: {_lacking(levels, claim)}"
    metrics = dict.fromkeys(side.metric or claim.metric for sides in claim.compare for side in sides)
    ends = curves.final(here)
    scores = {metric: pairing.scores(here, metric) if metric in ends else pd.DataFrame() for metric in metrics}
    if empty := next((metric for metric, found in scores.items() if found.empty), None):
        if empty not in ends:
            return f"these cells have no {empty}"
        held_out = curves.is_by_validation(empty) and ends[empty].isna().all()
        return f"{empty} has no value{': no examples were held out' if held_out else ' yet'}"
    found = []
    for i, (left, right) in enumerate(claim.compare):
        tables = [scores[side.metric or claim.metric] for side in (left, right)]
        pairs = pairing.paired(tables[0], left, right, tables[1]).assign(pair=i)
        if pairs.empty:
            lack = [said(side) for side, table in zip((left, right), tables, strict=True) if _none(table, side)]
            return f"no cells with {' or '.join(lack)}" if lack else f"no {said(left)} with its {said(right)} yet"
        found.append(pairs)
    every = pd.concat(found, ignore_index=True)
    if claim.relative:
        every = every[every["right"].ne(0)].assign(difference=lambda df: df["difference"] / df["right"].abs())
    return every


def _at(pairs: pd.DataFrame, claim: Claim) -> pd.DataFrame | str:
    """Return the pairs of one setting at the levels that the claim is about, of the seeds that have all of them."""
    if claim.remaining == AREA:
        found = statistics.area(pairs, ["setting", "pair"])
        return _whole(found, ["pair"]) if len(found) else "no seed has reached the deepest level on both sides"
    if isinstance(claim.remaining, tuple):
        high, low = claim.remaining
        found = pairs[pairs["remaining"].between(low * (1 - _ROUNDING), high * (1 + _ROUNDING))]
        return _whole(found, ["pair", "level"]) if len(found) else f"no level from {high:.4g} down to {low:.4g}"
    assert isinstance(claim.remaining, float)
    if claim.remaining < 1:
        pairs = pairs[pairs["remaining"] < 1]  # a dense network's difference from itself tells nothing of a pruned one
    if pairs.empty:
        return "no pruned level yet"
    off = np.log(pairs["remaining"] / claim.remaining).abs()
    if off.min() > math.log1p(claim.tolerance):
        return f"no level near {claim.remaining:.4g}; the nearest is {pairs.loc[off.idxmin(), 'remaining']:.4g}"
    return _whole(pairs[pairs["level"].eq(pairs.loc[off.idxmin(), "level"])], ["pair"])


def _whole(found: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return the rows of the seeds that have every (pair, level): a mean over fewer is a mean of something else."""
    return found.groupby("seed").filter(lambda seed: len(seed) == len(found[by].drop_duplicates()))


def _decided(claim: Claim, setting: str, found: pd.DataFrame) -> dict[str, object]:
    if found.empty:
        return _row(claim, setting=setting, why="no seed has all of it yet")
    table = statistics.compare(found, ["setting"]).iloc[0]
    verdict = decide(claim, table["low"], table["high"])
    return _row(
        claim,
        setting=setting,
        verdict=verdict,
        effect=table["difference"],
        low=table["low"],
        high=table["high"],
        n=table["n"],
        left=table["left"],
        right=table["right"],
        remaining=found["remaining"].min(),
        why={"undecided": _why, "contradicted": _against}[verdict](claim, table) if verdict != VERDICTS[0] else "",
    )


def _why(claim: Claim, table: pd.Series) -> str:
    if table["n"] < 2:
        return "one seed gives no interval"
    crossed = [bound for bound in bounds(claim) if table["low"] <= bound <= table["high"]]
    nearest = min(crossed, key=lambda bound: abs(bound - table["difference"]))
    seeds = statistics.seeds_needed(table["sd"], table["difference"] - nearest)
    tells = f"; if the effect is what it seems, {seeds:,.0f} seeds would tell" if table["n"] < seeds < 1000 else ""
    way = "the effect points the other way, but " if _points_away(claim, table["difference"]) else ""
    return f"{way}the interval crosses {_measured(nearest, claim)}{tells}"


def _against(claim: Claim, table: pd.Series) -> str:
    """Return how an effect contradicts its claim."""
    if _points_away(claim, table["difference"]) and not table["low"] <= 0 <= table["high"]:
        return "the effect points the other way"
    if not claim.value:
        return ""
    return f"the effect is {'smaller' if abs(table['difference']) < abs(claim.value) else 'larger'} than claimed"


def _points_away(claim: Claim, effect: float) -> bool:
    """Return whether an effect has the other sign than its claim."""
    claimed = claim.value or {"greater": 1.0, "less": -1.0}.get(claim.direction, 0.0)
    return claimed * effect < 0


def _measured(bound: float, claim: Claim) -> str:
    metric = metrics.of(claim.metric)
    factor, unit = (100, "%") if claim.relative else (metric.factor, metric.unit)
    return f"{factor * bound:.4g} {unit if bound else ''}".rstrip().replace("-", "−")


def _row(claim: Claim, **found: object) -> dict[str, object]:
    nothing = {"setting": "", "verdict": "not tested", "n": 0, "why": ""}
    return {**dict.fromkeys(_COLUMNS, math.nan), **nothing, **found, "claim": claim.name}


def _lacking(levels: pd.DataFrame, claim: Claim) -> str:
    for name, value in claim.where.items():
        if name not in view.config_columns(levels):
            return f"this study has no config value {name}"
        if not pairing.holds(levels, {name: value}).any():
            return f"none has {name}={_value(value)}"
    return "none has all of " + ", ".join(f"{name}={_value(value)}" for name, value in claim.where.items())


def _none(scores: pd.DataFrame, side: Side) -> bool:
    return pairing.chosen(scores, side).empty


def said(side: Side) -> str:
    """Return a side in words: `init=xavier_u arm reinit`, or `dense network`."""
    if side.dense:
        return "dense network"
    says = [f"{name}={_value(value)}" for name, value in side.config.items()]
    says += [f"metric {side.metric}"] if side.metric else []
    arm = [f"arm {side.arm}"] if side.arm != TICKET or not says else []
    return " ".join([*says, *arm, *([f"at {side.at:.4g} remaining"] if side.at is not None else [])])


def _value(value: object) -> str:
    return "|".join(map(str, value)) if isinstance(value, list) else str(value)
