"""Differences, intervals, tests, areas, matching, seeds needed. DataFrame in, DataFrame out.

The unit is the seed: a difference is between two cells of one seed, and seeds are resampled and counted. scipy and
statsmodels do the computing.
"""

import bisect
import math
import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.power import TTestPower

# Of intervals, and one less the level of tests.
CONFIDENCE = 0.95

# The probability with which a test should see a difference, by convention.
POWER = 0.8

# Resamples of a bootstrap, and drawn ways to flip signs: with the data's own way, 5,000 make p a round number.
_RESAMPLES = 4999

# Resamples that scipy holds in memory at a time.
_BATCH = 500

# Numbers that a resampling may hold in memory, 160 MB of them.
_MOST_NUMBERS = 20_000_000

# Of every resampling's generator, so that the same records give the same bytes.
_SEED = 0

# Greatest spread of differences that count as equal: fractions of whole counts differ in their last bits.
ALIKE = 1e-12

# Relative slack at the end of a range: weights remaining are fractions of whole counts.
_ROUNDING = 1e-9

# `seeds_needed` is infinite beyond this many.
_MOST_SEEDS = 1_000_000

# Effects, in standard deviations, beyond which two seeds do.
_MOST_EFFECT = 20_000.0

Floats = NDArray[np.float64]


def compare(
    pairs: pd.DataFrame,
    by: Sequence[str] = ("setting", "level"),
    *,
    confidence: float = CONFIDENCE,
    margin: float = 0.0,
    resampled: bool = False,
) -> pd.DataFrame:
    """Return paired statistics over seeds of pairs (`pairing.paired`), one row for each `by`.

    Columns: `by, remaining, n` (seeds)`, left, right, difference` (means)`, sd` (of the differences)`, low, high`
    (Student's t interval)`, p` (paired t); with a `margin` above 0 `p_within`, of `within`; and where `resampled` those
    of `resampling`. Several pairs of one seed are averaged first. With one seed there is no interval and no p. Where
    all differences are alike the interval has no length and `p` is that of flipping their signs, because a t has no
    value there.
    """
    seeds = pairs.groupby([*by, "seed"], observed=True, sort=True)[["remaining", "left", "right", "difference"]].mean()
    groups = seeds.groupby(list(by), observed=True, sort=True)
    table = groups[["remaining", "left", "right", "difference"]].mean()
    samples = [group.to_numpy(dtype="float64") for _, group in groups["difference"]]
    found = [estimates(samples, confidence=confidence)]
    if margin:
        found.append(within(samples, margin))
    if resampled:
        found.append(resampling(samples, confidence=confidence))
    return table.join([one.set_axis(table.index) for one in found]).reset_index()


def estimates(samples: Sequence[Floats], *, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Return estimates of the mean of each sample by Student's t: `n, sd, low, high, p`, as in `compare`."""
    found = pd.DataFrame(np.nan, index=range(len(samples)), columns=["sd", "low", "high", "p"])
    sizes = np.array([len(sample) for sample in samples], dtype="int64")
    for n in np.unique(sizes[sizes > 1]):
        rows = np.flatnonzero(sizes == n)
        data = np.stack([sample for sample in samples if len(sample) == n])  # (rows, seeds)
        alike, mean = np.ptp(data, axis=1) <= ALIKE, data.mean(axis=1)
        if not alike.all():
            test = stats.ttest_1samp(data[~alike], 0.0, axis=1)
            ends = test.confidence_interval(confidence)
            found.loc[rows[~alike]] = np.column_stack(
                [data[~alike].std(axis=1, ddof=1), ends.low, ends.high, test.pvalue]
            )
        # All signs alike is the most extreme of 2^n ways to flip them, and so is the opposite; no zero has a sign.
        flipped = np.where(np.abs(mean) <= ALIKE, 1.0, 2.0 ** (1 - n))
        found.loc[rows[alike]] = np.column_stack([np.zeros(len(rows)), mean, mean, flipped])[alike]
    return found.assign(n=sizes)


def within(samples: Sequence[Floats], margin: float) -> pd.DataFrame:
    """Return `p_within` of each sample, for a mean at least `margin` away from 0; null for one value.

    Two one-sided t tests (Schuirmann 1987), the greater p of the two doubled: below 0.05 where the whole 95 % t
    interval lies within +-margin. Where all values are alike, p is that of flipping the signs of their distances.
    """
    p = np.full(len(samples), math.nan)
    sizes = np.array([len(sample) for sample in samples], dtype="int64")
    for n in np.unique(sizes[sizes > 1]):
        rows = np.flatnonzero(sizes == n)
        data = np.stack([samples[row] for row in rows.tolist()])  # (rows, seeds)
        alike = np.ptp(data, axis=1) <= ALIKE
        p[rows[alike]] = np.where(np.abs(data[alike].mean(axis=1)) < margin, 2.0 ** (1 - n), 1.0)
        above = stats.ttest_1samp(data[~alike], -margin, axis=1, alternative="greater").pvalue
        below = stats.ttest_1samp(data[~alike], margin, axis=1, alternative="less").pvalue
        p[rows[~alike]] = np.minimum(1.0, 2 * np.maximum(above, below))
    return pd.DataFrame({"p_within": p})


def resampling(samples: Sequence[Floats], *, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Return estimates of the mean of each sample by resampling: `boot_low, boot_high, p_flip`; null for one value.

    The bootstrap interval is BCa (Efron 1987), or percentile where BCa has no value, and p that of flipping signs, all
    ways up to 12 values and a draw of them beyond. The draws are the same for every sample of one size and every call,
    so that the numbers of a sample do not depend on the others.
    """
    found = pd.DataFrame(np.nan, index=range(len(samples)), columns=["boot_low", "boot_high", "p_flip"])
    sizes = np.array([len(sample) for sample in samples], dtype="int64")
    for n in np.unique(sizes[sizes > 1]):
        rows = np.flatnonzero(sizes == n)
        # So many samples at once fit in memory: BCa leaves each value out in turn.
        for some in np.array_split(rows, max(1, len(rows) * n * max(n, _BATCH) // _MOST_NUMBERS)):
            data = np.stack([samples[row] for row in some.tolist()])  # (rows, seeds)
            found.loc[some] = np.column_stack([_bootstrap(data, confidence), _sign_flips(data)])
    return found


def holm(p: pd.Series, tests: int = 0) -> pd.Series:
    """Return p values corrected for their number by Holm's step-down method (1979); null ones do not count.

    `tests` is the number to correct for, where it is greater: those that are not among `p` count as p = 1.
    """
    # Not statsmodels' `multipletests`, which collects garbage at each call: seconds for the families of a page.
    tested = p.dropna().sort_values(kind="stable")
    left = max(tests, len(tested)) - np.arange(len(tested))
    return (tested * left).clip(upper=1.0).cummax().reindex(p.index)


def whole(pairs: pd.DataFrame, over: str = "setting") -> pd.DataFrame:
    """Return the rows of pairs in which every seed has the same settings, or the same values of another column.

    A mean over fewer settings is a mean of something else. Either seeds that lack a setting are left out or settings
    that a seed lacks, whichever leaves more rows; seeds where both leave as many.
    """
    if len(pairs) == pairs["seed"].nunique() * pairs[over].nunique():
        return pairs
    settings = pairs.groupby("seed", observed=True)[over].nunique()
    seeds = pairs.groupby(over, observed=True)["seed"].nunique()
    of_seeds = pairs[pairs["seed"].isin(settings.index[settings == len(seeds)])]
    of_settings = pairs[pairs[over].isin(seeds.index[seeds == len(settings)])]
    return of_seeds if len(of_seeds) >= len(of_settings) else of_settings


def area(pairs: pd.DataFrame, by: Sequence[str] = ("setting",), *, floor: float | pd.Series = 0.0) -> pd.DataFrame:
    """Return the mean of both sides of pairs over the log of the weights remaining: each curve's area over its length.

    One row for each (by, seed), with the columns of `pairs`; the trapezoid rule between levels, so `left` is still an
    accuracy. A seed that lacks a level which another seed of its `by` has is left out: its curve is not as long. With a
    `floor`, one or one a row, curves end where so many weights remain, between two levels on the straight line that
    joins them; those that do not reach it are left out.
    """
    names = [*by, "seed", "level", "remaining", "left", "right", "difference"]
    if pairs.empty:
        return pd.DataFrame(columns=names)
    values, curve = ["left", "right", "difference"], [*by, "seed"]
    with np.errstate(divide="ignore"):  # a floor of no weights is infinitely deep
        rows = pairs.assign(depth=-np.log(pairs["remaining"].astype("float64")), end=-np.log(floor))
    rows = rows.groupby([*curve, "level"], observed=True, sort=True)[[*values, "depth", "end"]].mean().reset_index()
    before = rows.groupby(curve, observed=True)[[*values, "depth"]].shift()
    within = ~(before["depth"] >= rows["end"] - _ROUNDING)
    rows, before = rows[within], before[within]
    to = np.minimum(rows["depth"], rows["end"])
    length = to - before["depth"]
    part = length / (rows["depth"] - before["depth"])
    for name in values:
        rows[name] = length * (before[name] + part * (rows[name] - before[name]) / 2)
    rows = rows.assign(length=length, to=to, short=rows["end"] - rows["depth"], levels=1)
    found = rows.groupby(curve, observed=True, sort=True).agg(
        dict.fromkeys([*values, "length", "levels"], "sum") | {"level": "max", "to": "max", "short": "min"}
    )
    every = rows.groupby(list(by), observed=True, sort=True)["level"].agg(["nunique", "max"])
    found = found.join(every, on=list(by)).reset_index()
    ends = ~(found["short"] > _ROUNDING) | np.isinf(found["short"])
    found = found[found["levels"].eq(found["nunique"]) & found["length"].gt(_ROUNDING) & ends]
    means = {name: found[name] / found["length"] for name in values}
    areas: pd.DataFrame = found.assign(**means, level=found["max"], remaining=np.exp(-found["to"]))[names]
    return areas.reset_index(drop=True)


def matching(
    pairs: pd.DataFrame, margin: float, *, higher: bool = True, confidence: float = CONFIDENCE
) -> pd.DataFrame:
    """Return how far each setting can be pruned and still match its dense networks, for pairs of level against dense.

    A level matches if its lower one-sided t bound is above -margin (non-inferiority), or where lower values are better
    (not `higher`) the upper one below margin. Levels are tested from the dense
    one on, until one fails: tests in a fixed order need no correction (Maurer, Hothorn & Lehmacher 1995).

    Columns: `setting, n` (the most seeds)`, remaining` (the smallest that still matches; 1 if not even the first level
    does, null where there is one seed)`, deepest` (the smallest at which the bound holds, whatever comes before it),
    `lowest` (the smallest that was run).
    """
    rows = []
    better = pairs["difference"] if higher else -pairs["difference"]
    pairs = pairs.assign(difference=better)
    for setting, levels in pairs[pairs["level"] > 0].groupby("setting", observed=True, sort=True):
        samples = levels.groupby("level", sort=True)["difference"].apply(lambda one: one.to_numpy())
        remaining = levels.groupby("level", sort=True)["remaining"].mean().to_numpy()
        bounds = np.array([lower_bound(sample, confidence) for sample in samples])
        passed = bounds > -margin
        until = int(np.argmin(passed)) if not passed.all() else len(passed)
        known = np.isfinite(bounds).any()
        rows.append(
            {
                "setting": setting,
                "n": max(map(len, samples)),
                "remaining": (remaining[until - 1] if until else 1.0) if known else np.nan,
                "deepest": (remaining[passed].min() if passed.any() else 1.0) if known else np.nan,
                "lowest": remaining.min(),
            }
        )
    return pd.DataFrame(rows, columns=["setting", "n", "remaining", "deepest", "lowest"])


def lower_bound(sample: Floats, confidence: float = CONFIDENCE) -> float:
    """Return the lower bound of a sample's mean by Student's t, one-sided; null for one value."""
    if len(sample) < 2:
        return math.nan
    if np.ptp(sample) <= ALIKE:
        return float(sample.mean())
    return float(stats.ttest_1samp(sample, 0.0, alternative="greater").confidence_interval(confidence).low)


def seeds_needed(
    sd: float, difference: float, *, tests: int = 1, power: float = POWER, confidence: float = CONFIDENCE
) -> float:
    """Return the number of seeds with which a paired two-sided t test sees a difference in the mean with this power.

    `sd` is that of the paired differences. `tests` are corrected for: at the first, strictest step of Holm's method,
    which divides the level by their number. Null where `sd` is unknown or the difference is 0; at least 2; infinite
    beyond a million.
    """
    effect = abs(difference) / sd if sd > 0 else (math.inf if sd == 0 and difference else math.nan)
    if not effect > 0:
        return math.nan
    test = TTestPower()

    def enough(n: int) -> bool:
        # One side at half the level: a difference seen the wrong way round is not seen.
        return bool(
            test.power(min(effect, _MOST_EFFECT), n, (1 - confidence) / 2 / tests, alternative="larger") >= power
        )

    # statsmodels' own search for n does not always converge, so the power is asked for n by n.
    top = 2
    while not enough(top):
        if top > _MOST_SEEDS:
            return math.inf
        top *= 2
    return float(top if top == 2 else bisect.bisect_left(range(top), True, lo=top // 2, key=enough))


def _bootstrap(data: Floats, confidence: float) -> Floats:
    """Return the bootstrap interval of the mean of each row of (rows, seeds), as (rows, 2): low and high."""
    found = np.repeat(data.mean(axis=1, keepdims=True), 2, axis=1)
    for method in ("BCa", "percentile"):
        # BCa has no value where all resamples lie on one side of the mean, which two or three seeds often do.
        rest = np.ptp(data, axis=1) > ALIKE if method == "BCa" else ~np.isfinite(found).all(axis=1)
        if rest.any():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", stats.DegenerateDataWarning)
                warnings.simplefilter("ignore", RuntimeWarning)
                ends = stats.bootstrap(
                    (data[rest],),
                    _mean,
                    axis=1,
                    vectorized=True,
                    confidence_level=confidence,
                    method=method,
                    n_resamples=_RESAMPLES,
                    batch=_BATCH,
                    rng=np.random.default_rng(_SEED),
                ).confidence_interval
            found[rest] = np.column_stack([ends.low, ends.high])
    return found


def _sign_flips(data: Floats) -> Floats:
    """Return p of each row of (rows, seeds) for a mean of 0, two-sided, by flipping signs: all ways, or a draw."""
    test = stats.permutation_test(
        (data,),
        _mean,
        axis=1,
        vectorized=True,
        permutation_type="samples",
        n_resamples=_RESAMPLES,
        batch=_BATCH,
        rng=np.random.default_rng(_SEED),
    )
    return np.asarray(test.pvalue, dtype="float64")


def _mean(data: Floats, axis: int = -1) -> Floats:
    # A sum's last bits depend on how memory lies, and on ties with the mean BCa depends.
    return np.asarray(np.round(np.mean(data, axis=axis), 12))
