"""Numbers as the page writes them; a dash stands for a missing one."""

import math
from collections.abc import Callable

from multirun_analysis import metrics
from multirun_analysis.claims import Claim
from multirun_analysis.claims.read import AREA
from multirun_analysis.claims.verdict import bounds, said
from multirun_analysis.levels import percent
from multirun_analysis.metrics import Metric, words
from multirun_analysis.report.choices import ARM

# Stands for a missing number.
NONE = "–"

# A minus sign, which is as wide as a plus.
_MINUS = "−"


def remaining(fraction: float) -> str:
    """Return a fraction of weights remaining in percent."""
    return f"{percent(fraction)} %" if _there(fraction) else NONE


def score(value: float, metric: Metric) -> str:
    """Return a score as it is written: an accuracy in percent, to a hundredth of a point."""
    if not _there(value):
        return NONE
    return f"{_number(value, metric)}{' %' if metric.is_share else ''}".replace("-", _MINUS)


def difference(value: float, metric: Metric) -> str:
    """Return a difference of scores with its sign, and without its unit."""
    if not _there(value):
        return NONE
    written = _number(value, metric, "+").replace("-", _MINUS)
    return written if float(_number(value, metric)) else written[1:]  # what rounds to 0 has no sign


def size(value: float, metric: Metric) -> str:
    """Return the size of a difference of scores, without its sign and its unit."""
    return _number(abs(value), metric) if _there(value) else NONE


def unit(metric: Metric) -> str:
    """Return the unit of differences of a metric, with a space before it; empty for a bare number."""
    return f" {metric.unit}" if metric.unit else ""


def margin(metric: Metric) -> str:
    """Return the margin of a metric with its unit, to as few places as it has."""
    return f"{metric.factor * metric.margin:.3g}{unit(metric)}"


def seen(metric: Metric) -> str:
    """Return the least difference of a metric that is worth seeing, with its unit."""
    return f"{metric.factor * metric.seen:.3g}{unit(metric)}"


def effect(value: float, claim: Claim) -> str:
    """Return the effect of a claim in what it is measured in."""
    if not _there(value):
        return NONE
    if claim.relative:
        return f"{_signed(100 * value, 1)} %"
    metric = metrics.of(claim.metric)
    return f"{difference(value, metric)}{unit(metric)}"


def interval(low: float, high: float, metric: Metric) -> str:
    """Return an interval of differences as `low to high`."""
    return _interval(low, high, lambda value: difference(value, metric))


def claim_interval(row: dict[str, float], claim: Claim) -> str:
    """Return the interval of a claim's effect, without its unit."""
    own = "" if claim.relative else unit(metrics.of(claim.metric))
    return _interval(row["low"], row["high"], lambda value: effect(value, claim).removesuffix(own))


def score_interval(low: float, high: float, metric: Metric) -> str:
    """Return an interval of scores, of shares in percent; it ends where the metric does."""
    least, most = metric.ends or (-math.inf, math.inf)
    return _interval(low, high, lambda value: score(min(max(value, least), most), metric).removesuffix(" %"))


def held_against(claim: Claim) -> str:
    """Return in symbols what the effect has to be for a claim to hold: `> −0.50 points`, `from −1.5 to +2.0 %`."""
    low, high = (effect(bound, claim) if bound else "0" for bound in bounds(claim))
    if math.isinf(bounds(claim)[1]):
        return f"> {low}"
    if math.isinf(bounds(claim)[0]):
        return f"< {high}"
    own = " %" if claim.relative else unit(metrics.of(claim.metric))
    return f"between {low.removesuffix(own)} and {high}"


def of_what(claim: Claim) -> str:
    """Return what the effect of a claim is: the metric of which cells less that of which others."""
    share = ", as a part of the latter" if claim.relative else ""
    if any(side.metric for pair in claim.compare for side in pair):
        each = [" less ".join(words(side.metric or claim.metric) for side in pair) for pair in claim.compare]
        return f"{', and '.join(each)}, of the same cells{share}"
    pairs = [f"{said(left)} less {said(right)}" for left, right in claim.compare]
    return f"{words(claim.metric)} of {', and of '.join(pairs)}{share}"


def looked_at(row: dict[str, float], claim: Claim) -> str:
    """Return the weights remaining at which, or from which down to which, a claim was looked at."""
    if claim.remaining == AREA:
        return f"100 to {remaining(row['remaining'])}"
    if isinstance(claim.remaining, tuple):
        return f"{percent(claim.remaining[0])} to {remaining(row['remaining'])}"
    return remaining(row["remaining"])


def moment(time: str) -> str:
    """Return a time of the records, as 2020-01-31T12:00:00+00:00, with a space and UTC."""
    return time.replace("T", " ").replace("+00:00", " UTC")


def p_value(p: float) -> str:
    """Return a p value to three places."""
    if not _there(p):
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds: float) -> str:
    """Return a time as its two largest units: `42 s`, `3 min 20 s`, `2 h 05 min`."""
    if not _there(seconds):
        return NONE
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(whole / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def matches(fraction: float) -> str:
    """Return how far a ticket matches its dense network; `never` where not even after one pruning."""
    return "never" if fraction == 1 else remaining(fraction)


def count(n: float) -> str:
    """Return a number of seeds."""
    if math.isinf(n):
        return "over 1,000,000"
    return f"{n:,.0f}" if _there(n) else NONE


def pair(row: dict[str, str]) -> str:
    """Return the two choices of a row of effects; arms as words."""
    left, right = (words(row[name]) if row["axis"] == ARM else row[name] for name in ("left_name", "right_name"))
    return f"{left} less {right}"


def several(n: float, what: str) -> str:
    """Return a number of things: `1 seed`, `3 seeds`."""
    return f"{n:.0f} {what}{'' if n == 1 else 's'}"


def _signed(value: float, places: int) -> str:
    written = f"{value:+.{places}f}".replace("-", _MINUS)
    return written if float(f"{value:.{places}f}") else written[1:]  # what rounds to 0 has no sign


def _number(value: float, metric: Metric, sign: str = "") -> str:
    places = ".4g" if metric.places is None else f".{metric.places}f"
    return f"{metric.factor * value:{sign}{places}}"


def _interval(low: float, high: float, write: Callable[[float], str]) -> str:
    return f"{write(low)} to {write(high)}" if _there(low) and _there(high) else NONE


def _there(value: float) -> bool:
    return math.isfinite(value)


# The functions above, for the template.
FILTERS = {
    one.__name__: one
    for one in (
        remaining,
        score,
        difference,
        unit,
        size,
        effect,
        interval,
        claim_interval,
        score_interval,
        held_against,
        of_what,
        matches,
        looked_at,
        moment,
        p_value,
        duration,
        count,
        pair,
        several,
        words,
    )
}
