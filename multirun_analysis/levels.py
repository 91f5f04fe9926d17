"""The levels that a figure shows where it cannot show all, and their names."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from multirun_analysis.view import View


def spread(levels: pd.Series, n: int = 5) -> list[int]:
    """Return about `n` levels, spread evenly from the dense one to the last."""
    found = np.sort(levels.unique())
    places = np.linspace(0, len(found) - 1, min(n, len(found))).round().astype(int)
    return [int(level) for level in found[places]]


def levels_at(records: pd.DataFrame, view: View, n: int = 5) -> list[int]:
    """Return the levels nearest, by ratio, to the weights remaining that the view asks for; else a spread of `n`."""
    if not view.remaining:
        return spread(records["level"], n)
    logs = np.log(records.groupby("level")["remaining"].median())
    return sorted({int((logs - np.log(wanted)).abs().idxmin()) for wanted in view.remaining})


def level_names(df: pd.DataFrame) -> pd.Series:
    """Return each row's level as a name: its weights remaining, or its number where those differ or coincide."""
    levels = df.groupby("level")["remaining"].agg(["min", "max"]).sort_index()
    alike = (levels["max"] - levels["min"] < 1e-3).all()
    names = [f"{percent(value)} %" for value in levels["max"]]
    if not alike or len(set(names)) < len(names):
        names = [f"level {level}" for level in levels.index]
    names[0] = f"{names[0]} (dense)" if levels.index[0] == 0 else names[0]
    named = pd.Categorical(df["level"].map(dict(zip(levels.index, names, strict=True))), names, ordered=True)
    return pd.Series(named, index=df.index)


def heading(names: Iterable[str]) -> str:
    """Return what the names of levels are, as the heading of a legend."""
    return "level" if any(name.startswith("level") for name in names) else "weights remaining"


def percent(fraction: float) -> str:
    """Return a fraction as percent, to three figures at most: 100, 51.3, 6.9, 0.12."""
    value = 100 * fraction
    return f"{value:.3g}" if value >= 10 else f"{value:.2g}"
