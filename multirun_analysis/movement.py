"""How tickets' weights move and are distributed (measure=[weights]), as tables. DataFrame in, DataFrame out."""

from typing import Any

import numpy as np
import pandas as pd

from ltsweep.schema import TICKET
from multirun_analysis.errors import NothingToShow
from multirun_analysis.load import Study, check_readings
from multirun_analysis.schema import COUNTED
from multirun_analysis.view import MANY, View, label

# What is drawn against the weights remaining: the distance from the level's start over the norm there; the share of
# weights whose sign changed; their correlation with the start; the share that was among the largest there.
DISTANCE, SIGNS, CORRELATION, LARGE = "distance", "sign_changes", "start_correlation", "large_at_start"
# And against the epochs of the dense network: how far its distribution is from the drawn one, as a share of that and of
# how far it is from the trained one. Above a half it is closer to the trained one.
CLOSER = "closer"

_NAMES = {DISTANCE, SIGNS, CORRELATION, LARGE, "norm", "quantile"}


def of_tickets(study: Study) -> pd.DataFrame:
    """Return the readings of tickets' weights, with `epoch` of the moment and `first`, whether it begins its level.

    Raises NothingToShow where nothing was measured.
    """
    check_readings(study)
    rows = study.readings
    rows = rows[rows["name"].isin(_NAMES) & rows["arm"].eq(TICKET) & rows["status"].isin(COUNTED)]
    if not rows["name"].eq(CORRELATION).any():
        raise NothingToShow("no weights were measured: measure=[weights] does")
    rows = rows.assign(**{name: rows[name].astype("str") for name in ("key", "name", "place")})
    at = study.evaluations[study.evaluations["arm"].eq(TICKET)].assign(key=lambda df: df["key"].astype("str"))
    at = at[["key", "level", "iteration", "epoch"]].drop_duplicates(["key", "level", "iteration"])
    found = rows.merge(at, on=["key", "level", "iteration"], how="left")
    begins = at.groupby(["key", "level"])["iteration"].min().rename("begins").reset_index()
    found = found.merge(begins, on=["key", "level"]).assign(first=lambda df: df["iteration"].eq(df["begins"]))
    once: pd.DataFrame = found.drop_duplicates(["key", "level", "iteration", "name", "place", "at"])
    return once


def table(study: Study, view: View) -> pd.DataFrame:
    """Return the mean over seeds of each quantity, layer by layer, with the least and the largest.

    Columns: `panel, line` (names of the choice)`, layer, quantity, x` (weights remaining, or epochs)`, value, low,
    high, n, chance` (LARGE of weights chosen at random, else nan). Of more than MANY layers the first and last.
    """
    rows = of_tickets(study)
    cells = study.cells[study.cells["key"].isin(rows["key"])]
    named = cells.assign(
        key=cells["key"].astype("str"),
        panel=label(cells, view.row),
        line=label(cells, tuple(name for name in view.choice if name not in view.row)),
    )[["key", "panel", "line"]]
    both = [one for one in (_at_ends(study, rows), _closer(rows)) if len(one)]
    if not both:
        raise NothingToShow("weights were measured at no end of a level: measure.weights.moments=[start,end] does")
    values = pd.concat(both).merge(named, on="key")
    by = ["panel", "line", "layer", "quantity", "x"]
    values["x"] = values["x"].round(9)  # equal counts
    grouped = values.groupby(by, observed=True)
    found = grouped["value"].agg(value="mean", low="min", high="max", n="count").join(grouped["chance"].mean())
    layers = list(dict.fromkeys(rows["place"]))
    shown = layers if len(layers) <= MANY else [*layers[: MANY // 2], *layers[-MANY // 2 :]]
    table = pd.DataFrame(found.reset_index())
    table = table[table["layer"].isin(shown)]
    return table.assign(layer=pd.Categorical(table["layer"], shown, ordered=True)).sort_values(by, ignore_index=True)


def _at_ends(study: Study, rows: pd.DataFrame) -> pd.DataFrame:
    """Return `key, layer, quantity, x, value, chance` of the last moment of each level."""
    levels = study.levels[study.levels["arm"].eq(TICKET)]
    left = pd.DataFrame(
        [
            {"key": str(key), "level": level, "x": remaining, "layer": name, "chance": kept / total}
            for key, level, remaining, names, counts, totals in zip(
                *(levels[name] for name in ("key", "level", "remaining", "layers", "layer_remaining", "layer_total")),
                strict=True,
            )
            for name, kept, total in zip(names, counts, totals, strict=True)
        ]
    )
    last = rows.groupby(["key", "level"])["iteration"].transform("max")
    ends = rows[rows["iteration"].eq(last) & ~rows["first"] & rows["name"].isin([DISTANCE, SIGNS, CORRELATION, LARGE])]
    begun = rows[rows["first"] & rows["name"].eq("norm")].set_index(["key", "level", "place"])["value"]
    norms = begun.reindex(pd.MultiIndex.from_frame(ends[["key", "level", "place"]])).to_numpy()
    is_distance = ends["name"].eq(DISTANCE).to_numpy()
    value = ends["value"].to_numpy() / np.where(is_distance & (norms > 0), norms, np.where(is_distance, np.nan, 1.0))
    found = ends.assign(value=value, layer=ends["place"], quantity=ends["name"]).dropna(subset="value")
    found = found.merge(left, on=["key", "level", "layer"])
    found["chance"] = found["chance"].where(found["quantity"].eq(LARGE))
    return found[["key", "layer", "quantity", "x", "value", "chance"]]


def _closer(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the same of CLOSER, for dense networks that were measured at evaluations too.

    The distance of two distributions is the mean difference of their quantiles, of equal shares: Wasserstein's.
    """
    found: list[dict[str, Any]] = []
    dense = rows[rows["level"].eq(0) & rows["name"].eq("quantile")]
    for (key, layer), one in dense.groupby(["key", "place"], sort=False):
        table = one.pivot_table(index=["iteration", "epoch"], columns="at", values="value").sort_index()
        if len(table) <= 2:
            continue
        values = table.to_numpy()
        drawn, trained = (np.abs(values - values[at]).mean(axis=1) for at in (0, -1))
        share = drawn / np.where(drawn + trained > 0, drawn + trained, np.nan)
        found += [
            {"key": key, "layer": layer, "quantity": CLOSER, "x": epoch, "value": value, "chance": np.nan}
            for (_, epoch), value in zip(table.index, share, strict=True)
        ]
    return pd.DataFrame(found, columns=["key", "layer", "quantity", "x", "value", "chance"])


def since(df: pd.DataFrame) -> pd.DataFrame:
    """Return the epochs after which distributions stay closer to the trained one: `panel, line, layer, epoch`.

    `df` is `table(...)`.
    """
    found = []
    for (panel, line, layer), one in df[df["quantity"].eq(CLOSER)].groupby(["panel", "line", "layer"], observed=True):
        one = one.sort_values("x")
        below = one["value"].le(0.5).to_numpy()
        first = len(below) - int(below[::-1].argmax()) if below.any() else 0
        found.append({"panel": panel, "line": line, "layer": layer, "epoch": float(one["x"].iloc[first])})
    return pd.DataFrame(found, columns=["panel", "line", "layer", "epoch"])
