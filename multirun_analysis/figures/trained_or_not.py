"""How often a classifier tells a trained layer from an untrained one, by all statistics of its weights and by each."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multirun_analysis import by_line, trained
from multirun_analysis.load import Study
from multirun_analysis.view import View

_NAMES = {
    "": "all of them",
    "scale": "deviation x sqrt(fan_in)",
    "mean": "mean / deviation",
    "skewness": "skewness",
    "kurtosis": "kurtosis",
    "positive": "share above zero",
    "spread": "quantiles / deviation",
}


def table(study: Study, view: View) -> pd.DataFrame:
    """Return `trained.table` of a study. Raises NothingToShow where no weights were measured."""
    return trained.table(study)


def draw(df: pd.DataFrame, view: View) -> list[Figure]:
    """Draw a row a statistic and a point a classifier, with its interval. `df` is `trained.table(...)`."""
    statistics = list(dict.fromkeys(df["statistic"]))

    def panel(ax: Axes, key: by_line.Panel, looks: by_line.Looks) -> None:
        for i, name in enumerate(key.lines):
            rows = df[df["line"].eq(name)].set_index("statistic").loc[statistics]
            places = [place + 0.24 * (i - (len(key.lines) - 1) / 2) for place in range(len(statistics))]
            away = [rows["accuracy"] - rows["low"], rows["high"] - rows["accuracy"]]
            color, marker = looks[name]
            ax.errorbar(rows["accuracy"], places, xerr=away, fmt=marker, color=color, capsize=2)
        ax.axvline(0.5, color="0.1", linestyle=":", linewidth=0.9)
        ax.set_yticks(range(len(statistics)), [_NAMES[name] for name in statistics])
        ax.set_ylim(len(statistics) - 0.5, -0.5)
        ax.set_xlim(right=1.02)
        ax.set_xlabel("share of the layers told rightly")

    note = _note(df)
    return by_line.draw(df, view, lambda _: [[("",)]], panel, note, lines=["classifier"])


def _note(df: pd.DataFrame) -> str:
    one = df.iloc[0]
    others = "studies" if one["by"] == "study" else "seeds"
    return (
        f"{one['layers']} layers of {one['n']} dense networks, each before training and after. Classifiers were fitted"
        f" to other {others}, in {one['folds']} folds. Means and 95 % intervals over networks; dotted a coin."
    )
