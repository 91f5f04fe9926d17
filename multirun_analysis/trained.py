"""Can trained layers be told from untrained ones, by statistics of their weights alone (measure=[weights])?

A layer of a dense network before its first step, and the same after its last, are two examples; what classifies them
was fitted to other studies or, of one study, to other seeds.
"""

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from ltsweep.schema import TICKET
from multirun_analysis.errors import NothingToShow
from multirun_analysis.load import Study, check_readings
from multirun_analysis.schema import COUNTED

# What is known of a layer: each is free of the layer's size, and of the sign or the unit of its weights.
STATISTICS = ("scale", "mean", "skewness", "kurtosis", "positive", "spread")

LOGISTIC, TREE = "logistic regression", "decision tree"

# Groups of one study that are left out in turn, at most: more seeds share one.
_FOLDS = 10


def examples(study: Study) -> pd.DataFrame:
    """Return a row for each layer and moment of a dense network: `key, study, seed, layer, trained` and STATISTICS.

    mean: over the standard deviation. positive: the distance of the share above zero from a half. spread: the distance
    of the outermost quantiles over the standard deviation. Raises NothingToShow where these were not measured.
    """
    check_readings(study)
    rows = study.readings
    rows = rows[rows["arm"].eq(TICKET) & rows["level"].eq(0) & rows["status"].isin(COUNTED)]
    rows = rows[rows["name"].isin(["scale", "deviation", "mean", "skewness", "kurtosis", "positive", "quantile"])]
    if not rows["name"].eq("kurtosis").any():
        raise NothingToShow("no weights were measured: measure=[weights] does")
    rows = rows.assign(**{name: rows[name].astype("str") for name in ("key", "name", "place")})
    last = rows.groupby("key")["iteration"].transform("max")
    rows = rows[last.gt(0) & (rows["iteration"].eq(0) | rows["iteration"].eq(last))]
    both = rows.groupby("key")["iteration"].transform("nunique").eq(2) & rows["name"].eq("quantile")
    rows = rows[rows["key"].isin(rows.loc[both, "key"])]
    if rows.empty:
        raise NothingToShow(
            "no dense network was measured before training and after, quantiles too: measure=[weights] does"
        )
    by = ["key", "place", "iteration"]
    plain = rows[rows["name"].ne("quantile")]
    found = plain.pivot_table(index=by, columns="name", values="value", aggfunc="first")
    outer = rows[rows["name"].eq("quantile")].groupby(by)["value"].agg(["min", "max"])
    found = found.join(outer).reset_index()
    cells = study.cells.assign(key=study.cells["key"].astype("str")).set_index("key")
    deviation = found["deviation"].where(found["deviation"] > 0)
    return pd.DataFrame(
        {
            "key": found["key"],
            "study": found["key"].map(cells["study"].astype("str")) if "study" in cells else "",
            "seed": found["key"].map(cells["seed"]),
            "layer": found["place"],
            "trained": found["iteration"].gt(0),
            "scale": found["scale"],
            "mean": (found["mean"] / deviation).abs(),
            "skewness": found["skewness"].abs(),
            "kurtosis": found["kurtosis"],
            "positive": (found["positive"] - 0.5).abs(),
            "spread": (found["max"] - found["min"]) / deviation,
        }
    ).dropna(subset=list(STATISTICS), ignore_index=True)


def table(study: Study) -> pd.DataFrame:
    """Return how often each classifier is right: `panel, line, statistic, accuracy, low, high, layers, n, folds, by`.

    line: LOGISTIC or TREE. They know all STATISTICS (`statistic` is empty) or one of them. accuracy: the mean over
    networks of the share of their layers, before and after, that are classified rightly by what was fitted to other
    folds. low, high: its 95 % interval over networks, by t. by: what a fold is, `study` or `seed`.
    """
    found = examples(study)
    by = "study" if len(set(found["study"])) > 1 else "seed"
    groups = pd.factorize(found[by])[0] % (_FOLDS if by == "seed" else len(found))
    if len(set(groups)) < 2:
        raise NothingToShow("whether layers are trained is told from other seeds or studies, and there is one")
    rows = []
    for statistic in ("", *STATISTICS):
        known = found[[statistic] if statistic else list(STATISTICS)].to_numpy(dtype=np.float64)
        for classifier in (LOGISTIC, TREE):
            right = _right(classifier, known, found["trained"].to_numpy(), groups)
            each = pd.Series(right).groupby(found["key"].to_numpy()).mean()
            n, middle = len(each), float(each.mean())
            away = stdtrit(n - 1, 0.975) * each.std() / math.sqrt(n) if n > 1 else math.nan
            rows.append(
                {"panel": "", "line": classifier, "statistic": statistic, "accuracy": middle}
                | {"low": max(middle - away, 0.0), "high": min(middle + away, 1.0)}
                | {"layers": len(found) // 2, "n": n, "folds": len(set(groups)), "by": by}
            )
    table = pd.DataFrame(rows)
    for name, order in (("panel", [""]), ("line", [LOGISTIC, TREE])):
        table[name] = pd.Categorical(table[name], order, ordered=True)
    return table


def _right(
    classifier: str, known: NDArray[np.float64], trained: NDArray[np.bool_], groups: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return of each example whether it is classified rightly, by what was fitted to the other groups."""
    from sklearn.linear_model import LogisticRegression  # a second to import, for this figure alone
    from sklearn.model_selection import LeaveOneGroupOut
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    right = np.zeros(len(trained), dtype=np.bool_)
    for fitted, left_out in LeaveOneGroupOut().split(known, trained, groups):
        made = (
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))
            if classifier == LOGISTIC
            else DecisionTreeClassifier(max_depth=3, random_state=0)
        )
        made.fit(known[fitted], trained[fitted])
        right[left_out] = made.predict(known[left_out]) == trained[left_out]
    return right
