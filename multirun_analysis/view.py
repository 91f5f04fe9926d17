"""What varies in a study, and where it goes in a figure: row of panels, column of panels, or line."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from multirun_analysis.errors import AnalysisError
from multirun_analysis.schema import RECORD_COLUMNS

# Where two columns vary together, the earlier of these stands for both.
_FIRST = ("dataset", "model", "method", "init", "optimizer", "lr", "prune_rate")

# More lines of different colours than this in one panel cannot be told apart.
_MANY = 8


@dataclass(frozen=True)
class View:
    """How a study is drawn. `row`, `col` and `hue` are config columns: all that vary but for the seed.

    metric: a column of `curves.final(levels)`. band: one of `curves.BANDS`, drawn as bars at each level where `bars`.
    remaining: the fractions of weights remaining that are asked for, where a figure shows some levels only; none means
    the figure's own choice. axes: the two config columns of a heat map, or none. style: one of `style.SUFFIX`. note:
    one or more sentences to stand under every figure, such as which cells it does not show.
    """

    row: tuple[str, ...] = ()
    col: tuple[str, ...] = ()
    hue: tuple[str, ...] = ()
    metric: str = "test_accuracy"
    band: str = "minmax"
    bars: bool = False
    remaining: tuple[float, ...] = ()
    axes: tuple[str, ...] = ()
    style: str = "screen"
    note: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that tell one choice from another."""
        return tuple(dict.fromkeys((*self.row, *self.col, *self.hue)))

    @property
    def choice(self) -> tuple[str, ...]:
        """The same columns in the order of a choice's name: the line's first."""
        return tuple(dict.fromkeys((*self.hue, *self.col, *self.row)))


def config_columns(df: pd.DataFrame) -> list[str]:
    """Columns of a tidy table that are config values."""
    return [name for name in df.columns if name not in RECORD_COLUMNS]


def varying(df: pd.DataFrame) -> list[str]:
    """List the fewest config columns that tell the cells of a tidy table apart, but for their seeds.

    A column that follows from those before it is left out: `init.gain` where each init has one gain, or the
    learning rate where each model has its own. Unreadable cells tell nothing: their configs may be torn.
    """
    readable = df[df["status"] != "unreadable"]
    names = [name for name in config_columns(df) if name != "seed"]
    values = readable[names].drop_duplicates()
    kept: list[str] = []
    groups = 1
    for name in sorted(names, key=_place):
        if (found := len(values[[*kept, name]].drop_duplicates())) > groups:
            kept, groups = [*kept, name], found
    return kept


def choose(
    cells: pd.DataFrame,
    *,
    controls: bool = False,
    hue: tuple[str, ...] = (),
    col: tuple[str, ...] = (),
    row: tuple[str, ...] = (),
) -> View:
    """Give every varying column of the cells table a place; the places that are asked for come first.

    Data sets and models become rows of panels, the learning rate columns of panels, all else lines: cells of
    different configs are never averaged, so what has no place of its own becomes part of the line's name. A
    study of learning rates alone has one panel with a line for each, unless there are `controls` to compare
    within each. Raises AnalysisError for a column that does not exist.
    """
    for name in (*hue, *col, *row):
        check_column(name, cells)
    free = [name for name in varying(cells) if name not in {*hue, *col, *row}]
    row = row or tuple(name for name in free if name in {"dataset", "model"})
    lines = tuple(name for name in free if name not in row)
    if not col and "lr" in lines and (len(lines) > 1 or hue or controls):
        col = ("lr",)
    lines = tuple(name for name in lines if name not in col)
    if not col and len(lines) > 1 and _count(cells, (*hue, *lines)) > _MANY:
        col = (min(lines, key=lambda name: _count(cells, (name,))),)
        lines = tuple(name for name in lines if name not in col)
    return View(row=row, col=col, hue=(*hue, *lines))


def label(df: pd.DataFrame, columns: tuple[str, ...]) -> pd.Series:
    """Name each row by its values in `columns`, as ordered categories in the order of those values."""
    if not columns:
        return pd.Series(pd.Categorical([""] * len(df), [""], ordered=True), index=df.index)
    codes = df.groupby(list(columns), sort=True, dropna=False, observed=True).ngroup()
    first = df.assign(_code=codes).drop_duplicates("_code").sort_values("_code")
    names = [", ".join(map(_text, values)) for values in first[list(columns)].itertuples(index=False)]
    found = pd.Categorical.from_codes(codes.tolist(), pd.Index(names), ordered=True)
    return pd.Series(found, index=df.index)


def labelled(df: pd.DataFrame, view: View) -> pd.DataFrame:
    """Add the columns `row`, `col` and `hue`: the names of the panel and of the line of each row."""
    return df.assign(row=label(df, view.row), col=label(df, view.col), hue=label(df, view.hue))


def first(df: pd.DataFrame, column: str, n: int) -> tuple[pd.DataFrame, str]:
    """Keep the rows of the first `n` names of a categorical column, and say in a sentence what is left out, if any."""
    names = [name for name in df[column].cat.categories if name in set(df[column])]
    kept = df[df[column].isin(names[:n])]
    left = len(names) - n
    says = f"{left} more {'is' if left == 1 else 'are'} not shown; --where chooses." if left > 0 else ""
    return kept.assign(**{column: kept[column].cat.set_categories(names[:n], ordered=True)}), says


def _place(name: str) -> tuple[int, str]:
    if name == "study":  # of several studies read as one: it tells apart what nothing else does
        return 99, name
    group = name.split(".")[0]
    if name in _FIRST:
        return _FIRST.index(name), name
    return len(_FIRST) + (_FIRST.index(group) + 1 if group in _FIRST else 0), name


def _count(cells: pd.DataFrame, columns: tuple[str, ...]) -> int:
    return len(cells[list(columns)].drop_duplicates())


def _text(value: object) -> str:
    if isinstance(value, float):
        return "null" if value != value else f"{value:.10g}"
    return str(value)


def check_column(name: str, cells: pd.DataFrame) -> None:
    """Raise AnalysisError, naming the nearest, unless `name` is a config column of the cells table."""
    known = config_columns(cells)
    if name in known:
        return
    there_are = ", ".join(varying(cells)) or "none"
    raise AnalysisError(f"no config column {name!r}: {meant(name, known)}These vary here: {there_are}")


def meant(name: str, known: Sequence[str]) -> str:
    """Ask in a sentence whether the nearest of the known names was meant; empty if none is near."""
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}? " if near else ""
