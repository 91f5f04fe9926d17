"""What varies in a study, and where it goes in a figure: row of panels, column of panels, or line."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ltsweep.errors import did_you_mean
from ltsweep.schema import EXTENT, NUMBERED
from ltsweep.words import shown
from multirun_analysis.errors import AnalysisError
from multirun_analysis.metrics import DEFAULT
from multirun_analysis.schema import CONFIG_COLUMN, UNREADABLE, is_record
from multirun_analysis.style import SCREEN, Style

# Groups by rank: where columns of two groups vary together, the earlier group's stands for both.
_FIRST = ("dataset", "model", "method", "init", "optimizer", "lr", "prune_rate")

# Lines of different colours in one panel: more are hard to tell apart.
MANY = 6


@dataclass(frozen=True)
class View:
    """How a study is drawn. `row`, `col` and `hue` are config columns: all that vary but for the seed.

    metric: a column of `curves.final(levels)`, or a name that says one for each headline (`metrics.named`). band: one
    of `curves.BANDS`, drawn as bars at each level where `bars`. remaining: the fractions of weights remaining that are
    asked for, where a figure shows some levels only; none means the figure's own choice. axes: the two config columns
    of a heat map, or none. over: config columns that are averaged over, as seeds are. style: how figures look. note:
    one or more sentences to stand under every figure, such as which cells it does not show.
    """

    row: tuple[str, ...] = ()
    col: tuple[str, ...] = ()
    hue: tuple[str, ...] = ()
    metric: str = DEFAULT
    band: str = "minmax"
    bars: bool = False
    remaining: tuple[float, ...] = ()
    axes: tuple[str, ...] = ()
    over: tuple[str, ...] = ()
    style: Style = SCREEN
    note: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Return all columns that tell one choice from another."""
        return tuple(dict.fromkeys((*self.row, *self.col, *self.hue)))

    @property
    def choice(self) -> tuple[str, ...]:
        """Return the same columns in the order of a choice's name: the line's first."""
        return tuple(dict.fromkeys((*self.hue, *self.col, *self.row)))

    def of_group(self, *groups: str) -> tuple[str, ...]:
        """Return those of the columns that are config values of some groups, such as `init` and `init.gain`."""
        return tuple(name for name in self.columns if group(name) in groups)


def group(column: str) -> str:
    """Return the group that a config column belongs to: `init` for `init.gain`."""
    return column.partition(".")[0]


def choice(column: str) -> str:
    """Return the column that holds the name of the choice that a config column belongs to: `lr.name` for `lr`."""
    own = group(column)
    return f"{own}.name" if own in NUMBERED else own


def config_columns(df: pd.DataFrame) -> list[str]:
    """Return the columns of a tidy table that are config values."""
    return [name for name in df.columns if not is_record(name)]


def readable(df: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of readable cells: the config of another may be torn."""
    return df[df["status"].ne(UNREADABLE)]


def varying(df: pd.DataFrame, over: tuple[str, ...] = ()) -> list[str]:
    """Return the fewest config columns that tell the cells of a tidy table apart, but for their seeds and their extent.

    over: columns that are left out too, with the hash of what such a column names. Of a group its name comes first,
    then those of its fields that differ among the cells that have them. A column that follows from those before it is
    left out: `init.gain` where each init has one gain, or the learning rate where each model has its own. Unreadable
    cells are not looked at.
    """
    apart = ("seed", *EXTENT, *over, *(f"{name}_sha256" for name in over))  # no level is another by its extent
    names = [name for name in config_columns(df) if name not in apart]
    values = readable(df)
    kept: list[str] = []
    told = np.zeros(len(values), dtype="int64")  # which group a row is in, by the columns that are kept
    for name in sorted(names, key=_place):
        codes, found = pd.factorize(values[name], use_na_sentinel=False)
        if len(found) < 2:
            continue
        groups, finer = np.unique(told * len(found) + codes, return_inverse=True)
        if len(groups) > told.max() + 1:
            kept, told = [*kept, name], finer
    return kept


def choose(
    cells: pd.DataFrame,
    *,
    controls: bool = False,
    hue: tuple[str, ...] = (),
    col: tuple[str, ...] = (),
    row: tuple[str, ...] = (),
    over: tuple[str, ...] = (),
) -> View:
    """Return a view with a place for every varying column of the cells table; places that are asked for come first.

    Data sets, models and pruning rates become rows of panels, for their scores or weights remaining are others; the
    learning rate becomes columns of panels; all else lines: cells of different configs are never averaged, so what has
    no place of its own becomes part of the line's name. Where that makes more than `MANY` lines, the columns with the
    fewest values become panels. A study of learning rates alone has one panel with a line for each, unless there are
    `controls` to compare within each. Raises AnalysisError for a column that does not exist.

    over: columns that are averaged over, as seeds are: each seed of a line has one value of theirs, such as a ticket of
    its own. Raises AnalysisError where one has more.
    """
    for name in (*hue, *col, *row, *over):
        check_column(name, cells)
    if placed := [name for name in over if name in {*hue, *col, *row}]:
        raise AnalysisError(f"{placed[0]} is in --over, and cannot have a place too")
    free = [name for name in varying(cells, over) if name not in {*hue, *col, *row}]
    row = row or tuple(name for name in free if name in {"dataset", "model"} or group(name) == "prune_rate")
    lines = tuple(name for name in free if name not in row)
    if not col and "lr" in lines and (len(lines) > 1 or hue or controls):
        col = ("lr",)
    lines = tuple(name for name in lines if name not in col)
    while len(groups := dict.fromkeys(map(group, lines))) > 1 and _count(cells, (*hue, *lines)) > MANY:
        apart = [tuple(name for name in lines if group(name) == own) for own in groups]
        fewest = min(apart, key=lambda names: _count(cells, names))
        lines = tuple(name for name in lines if name not in fewest)
        row, col = (row, fewest) if not col else ((*row, *fewest), col)
    found = View(row=row, col=col, hue=(*hue, *lines), over=over)
    _check_over(found, cells)
    return found


def _check_over(view: View, cells: pd.DataFrame) -> None:
    """Raise AnalysisError where a line would average over cells of one seed."""
    if not view.over or "seed" not in cells:
        return
    same = readable(cells)[[*dict.fromkeys((*view.columns, "seed"))]].astype("str")
    twice = same[same.duplicated()]
    if len(twice):
        seed, count = twice["seed"].iloc[0], int(same.eq(twice.iloc[0]).all(axis=1).sum())
        raise AnalysisError(
            f"--over {','.join(view.over)}: seed {seed} has {count} cells in one line, and each seed is to have "
            f"one; without --over they are drawn apart"
        )


def label(df: pd.DataFrame, columns: tuple[str, ...]) -> pd.Series:
    """Return each row's values in `columns` as one name, as ordered categories in the order of those values.

    A field that some choices of its group lack is named, as `step, gamma=0.1`, and left out of the others' names.
    """
    if not columns:
        return pd.Series(pd.Categorical([""] * len(df), [""], ordered=True), index=df.index)
    codes = df.groupby(list(columns), sort=True, dropna=False, observed=True).ngroup()
    first = df.assign(_code=codes).drop_duplicates("_code").sort_values("_code")
    names = pd.Index(_joined(first, columns))
    if names.has_duplicates:  # two choices with different fields of equal names
        names = pd.Index(_joined(first, columns, partial=False))
    found = pd.Categorical.from_codes(codes.tolist(), names, ordered=True)
    return pd.Series(found, index=df.index)


def _joined(df: pd.DataFrame, columns: tuple[str, ...], *, partial: bool = True) -> list[str]:
    """Return the values of each row as a name; `partial` fields are named, and left out where they are null."""
    texts = []
    for name in columns:
        if partial and choice(name) in columns and choice(name) != name and df[name].isna().any():
            field = name.rpartition(".")[2]
            texts.append([None if pd.isna(value) else f"{field}={_text(value)}" for value in df[name]])
        else:
            texts.append([_text(value) for value in df[name]])
    return [", ".join(text for text in row if text is not None) for row in zip(*texts, strict=True)]


def labelled(df: pd.DataFrame, view: View) -> pd.DataFrame:
    """Return a table with the columns `row`, `col` and `hue`: the names of each row's panel and line."""
    return df.assign(row=label(df, view.row), col=label(df, view.col), hue=label(df, view.hue))


def described(df: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """Return for each row a text of its values in `columns`, as `init=xavier_u lr=0.1`; empty for no columns.

    A field that the row's choice lacks is left out.
    """
    if not columns:
        return pd.Series("", index=df.index, dtype="str")
    partial = {name for name in columns if choice(name) in columns and choice(name) != name}
    texts = [
        [None if name in partial and pd.isna(value) else f"{name}={_text(value)}" for value in df[name]]
        for name in columns
    ]
    said = [" ".join(text for text in row if text is not None) for row in zip(*texts, strict=True)]
    return pd.Series(said, index=df.index, dtype="str")


def _place(name: str) -> tuple[int, bool, str]:
    """Return where a column stands among others: the names of groups first, then numbers of groups, then fields."""
    if name in ("study", CONFIG_COLUMN):  # they tell apart what nothing else does
        return 99, False, name
    own = group(name)
    rank = _FIRST.index(own) if own in _FIRST else len(_FIRST)
    if name in (own, choice(name)):
        return rank, name != choice(name), name
    return len(_FIRST) + 1 + rank, False, name


def _count(cells: pd.DataFrame, columns: tuple[str, ...]) -> int:
    return len(cells[list(columns)].drop_duplicates())


def _text(value: object) -> str:
    if isinstance(value, float):
        return "null" if value != value else f"{value:.10g}"
    return str(value)


def check_column(name: str, cells: pd.DataFrame) -> None:
    """Raise AnalysisError, with the nearest name, unless `name` is a config column of the cells table."""
    known = config_columns(cells)
    if name in known:
        return
    there_are = ", ".join(varying(cells)) or "none"
    raise AnalysisError(f"no config column {shown(name)!r}: {did_you_mean(name, known)}These vary here: {there_are}")
