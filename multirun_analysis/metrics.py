"""What the name of a metric tells: which end is better, how its numbers are written, which differences are small.

A metric is known by the end of its column's name, and a cell by its headline: the score whose best validation value
marks its best model. A name may hold `{headline}` for the score of each cell's own headline, and `{gap}` for its gap.
"""

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from ltsweep.schema import SCORE, TICKET
from multirun_analysis.schema import COUNTED, HEADLINE

# Before the name of a headline: the column of a levels table with the test score of the best model.
BEST = "best_test_"

# The metric that is drawn unless another is asked for.
DEFAULT = "test_{headline}"

# The gap between training and test scores -> its two sides, the greater one first in a network that learns by heart.
GAPS = {
    "generalization_gap": ("train_accuracy", "test_accuracy"),
    "loss_gap": ("test_loss", "train_loss"),
}

# The end of a perplexity's name, which is the exponential of the loss of that name.
_PERPLEXITY = "_perplexity"

# The margin of a headline whose dense networks have a mean of 0, or none: no difference is small.
_NO_MARGIN = 1e-12


@dataclass(frozen=True)
class Metric:
    """What is known of a metric.

    higher: whether higher is better. margin: a difference up to it is small, and a ticket that is no further below its
    dense network matches it; in the column's own numbers, or where it is `relative` as a part of the mean of the dense
    networks. seen: the least difference worth seeing: seeds are reckoned for none below it. factor, unit, places: how a
    difference is written, the column's number times the factor, to so many places; None for four figures. shortest: the
    least length of an axis; None for a part of the median. far: whether single points far on the worse side are left
    out of an axis. ends: the least and the greatest value there can be.
    """

    higher: bool
    margin: float = _NO_MARGIN
    relative: bool = False
    factor: float = 1.0
    unit: str = ""
    places: int | None = None
    shortest: float | None = None
    far: bool = False
    ends: tuple[float, float] | None = None
    seen: float = 0.0
    name: str = ""

    @property
    def sign(self) -> float:
        """Return 1 where higher is better, else -1: a difference times it is above 0 where the left side is better."""
        return 1.0 if self.higher else -1.0

    @property
    def is_share(self) -> bool:
        """Return whether values are shares, written in percent."""
        return self.ends == (0.0, 1.0)

    @property
    def is_headline(self) -> bool:
        """Return whether it is known which end is better, and how differences are written."""
        return self.places is not None

    @property
    def worse(self) -> str:
        """Return which way is worse, as a word."""
        return "below" if self.higher else "above"

    def at(self, dense: float) -> "Metric":
        """Return the metric with a margin in its own numbers, rounded as written, for dense networks of this mean."""
        if not self.relative:
            return self
        size = round(abs(self.margin * dense), self.places)
        return dataclasses.replace(self, margin=size if size > _NO_MARGIN else _NO_MARGIN, relative=False)


# The unit of differences of shares.
POINTS = "points"

# End of a name -> what is known of such metrics. The margins: half a point is five times what seeds of LeNet-300-100
# differ by on MNIST; the others are ours.
_KNOWN = {
    "accuracy": Metric(True, 0.005, False, 100.0, POINTS, 2, 0.01, far=True, ends=(0.0, 1.0), seen=0.001),
    "loss": Metric(False, 0.02, unit="nats", places=3, far=True, seen=0.005),
    "perplexity": Metric(False, places=2, far=True),
    "return": Metric(True, 0.05, relative=True, places=1, far=True),
    "generalization_gap": Metric(False, 0.005, False, 100.0, POINTS, 2, 0.01, seen=0.001),
    "loss_gap": Metric(False, 0.02, unit="nats", places=3, seen=0.005),
    "iteration": Metric(False),
    "iterations_trained": Metric(False),
    "seconds": Metric(False),
    "barrier": Metric(False),
}

# What is known of a number that is no score, such as a logarithm of lengths.
_PLAIN = Metric(True)

# Columns of `curves.final`, of whichever problems: those of a study are among them.
NAMES = (
    *(f"{split}_{score}" for split in ("train", "val", "test") for score in ("loss", "accuracy", "return")),
    "iterations_trained",
    "best_iteration",
    *(f"best_{split}_{score}" for split in ("val", "test") for score in ("loss", "accuracy", "return")),
    "early_stop_iteration",
    "early_stop_val_loss",
    *(f"early_stop_test_{score}" for score in ("loss", "accuracy")),
    "seconds",
    *GAPS,
)

# Names on an axis, where a column's own would not do.
_ON_AXES = {
    "generalization_gap": "train − test accuracy",
    "loss_gap": "test − train loss",
    "test_barrier": "test error barrier,\nticket to twin",
    "early_stop_iteration": "early-stop iteration",
}


def of(name: str) -> Metric:
    """Return what is known of a column's metric, with its name."""
    ends = [end for end in _KNOWN if name == end or name.endswith(f"_{end}")]
    return dataclasses.replace(_KNOWN[max(ends, key=len)] if ends else _PLAIN, name=name)


def is_recorded(name: str) -> bool:
    """Return whether a column is by its name a metric that means are taken of as it is: a score, iterations, ..."""
    if SCORE.fullmatch(name.removeprefix("best_").removeprefix("early_stop_")):
        return not name.endswith(_PERPLEXITY)
    return name.endswith(("_iteration", "iterations_trained", "seconds", *GAPS))


def on_axis(name: str) -> str:
    """Return the name of a metric as an axis has it, with its unit; percents stand at the ticks."""
    unit = of(name).unit
    own = f" ({unit})" if unit and unit != POINTS else ""
    if name.startswith(BEST):
        return f"test {words(name.removeprefix(BEST))} of the best\nmodel by validation{own}"
    return f"{_ON_AXES.get(name, words(name))}{own}"


def words(name: str) -> str:
    """Return the name of a column as words."""
    return name.replace("_", " ")


def headlines(rows: pd.DataFrame) -> list[str]:
    """Return the headlines of the cells of a tidy table, in alphabetical order."""
    return sorted(map(str, rows[HEADLINE].dropna().unique()))


def has_gap(headline: str) -> bool:
    """Return whether there is a gap between training and test scores of a headline."""
    return any(sides[0].endswith(f"_{headline}") for sides in GAPS.values())


def named(template: str, headline: str) -> str:
    """Return the metric that a name means for cells of a headline."""
    gap = next((gap for gap, sides in GAPS.items() if sides[0].endswith(f"_{headline}")), "")
    return template.replace("{headline}", headline).replace("{gap}", gap)


class Rows(NamedTuple):
    """Rows of a tidy table whose scores of a metric have one scale.

    scale: a text; rows of two texts have scores of other sizes. Empty for most metrics.
    """

    metric: str
    scale: str
    rows: pd.DataFrame


def resolved(rows: pd.DataFrame, template: str) -> list[Rows]:
    """Return the rows of a tidy table for each metric that a name means there, and for each scale of it."""
    found = []
    for headline in headlines(rows) if "{" in template else [""]:
        name = named(template, headline)
        own = rows[rows[HEADLINE].eq(headline)] if headline else rows
        scales = _scales(own) if of(name).relative and "dataset" in own else pd.Series("", own.index)
        found += [Rows(name, each, own[scales.eq(each)]) for each in sorted(scales.unique())]
    return found


def _scales(rows: pd.DataFrame) -> "pd.Series[str]":
    """Return the data set of each row, with its environment where others of that name have another."""
    names = rows["dataset"].astype("str")
    if "dataset.environment" not in rows:
        return names
    environments = rows["dataset.environment"].astype("str")
    several = environments.groupby(names).transform("nunique") > 1
    return names.where(~several, names + ", " + environments)


class Measured(NamedTuple):
    """What a panel measures: a metric, on one scale."""

    metric: str
    scale: str

    def holds(self, df: pd.DataFrame) -> "pd.Series[bool]":
        """Return which rows of a table with the columns `metric` and `scale` are of it."""
        return df["metric"].eq(self.metric) & df["scale"].eq(self.scale)


def measured(df: pd.DataFrame) -> list[Measured]:
    """Return what the rows of a table with the columns `metric` and `scale` measure, in their order."""
    pairs = df[["metric", "scale"]].drop_duplicates()
    return [Measured(*map(str, pair)) for pair in pairs.itertuples(index=False, name=None)]


class Part(NamedTuple):
    """Cells whose headlines have one scale: no mean, area or test is over two parts.

    name: a text; empty where a study is one part. metric: that of the headline, its margin at the dense networks.
    """

    name: str
    metric: Metric
    levels: pd.DataFrame


def unknown(levels: pd.DataFrame) -> list[str]:
    """Return the headlines of a levels table of which nothing is known: scores of a user's own."""
    return [words(name) for name in headlines(levels) if not of(named(DEFAULT, name)).is_headline]


def parts(levels: pd.DataFrame) -> list[Part]:
    """Return the parts of a levels table; none of cells with a headline of which nothing is known."""
    found = [one for one in resolved(levels, DEFAULT) if of(one.metric).is_headline]
    return [
        Part(said(name, scale) if len(found) > 1 else "", of(name).at(_dense(rows, name)), rows)
        for name, scale, rows in found
    ]


def said(name: str, scale: str) -> str:
    """Return the name of a part of a study: its score and, where that matters, its data set."""
    return f"{words(name)}, dataset={scale}" if scale else words(name)


def with_gaps(levels: pd.DataFrame) -> pd.DataFrame:
    """Return levels, named as evaluations, with the gaps of their headlines, as far as these have one."""
    there = {gap: sides for gap, sides in GAPS.items() if f"{BEST}{sides[0].rpartition('_')[2]}" in levels}
    return levels.assign(**{gap: levels[one] - levels[two] for gap, (one, two) in there.items()})


def averaged(name: str) -> str:
    """Return the column that means of a metric are taken of: of a perplexity its loss."""
    return f"{name.removesuffix(_PERPLEXITY)}_loss" if name.endswith(_PERPLEXITY) else name


def written(values: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return numbers of the column `averaged(name)` as those of the metric: of a perplexity the exponentials."""
    with np.errstate(over="ignore"):  # the loss of a network that diverges
        return values.apply(np.exp) if averaged(name) != name else values


def _dense(levels: pd.DataFrame, name: str) -> float:
    """Return the mean score of the dense networks at their end, null where there is none."""
    rows = levels[levels["arm"].eq(TICKET) & levels["level"].eq(0) & levels["status"].isin(COUNTED)]
    scores = rows[f"final_{name}"].astype("float64")
    return float(scores[np.isfinite(scores)].mean())
