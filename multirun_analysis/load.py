"""From study folders to tidy tables."""

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from ltsweep.schema import DONE, EVALUATIONS_FILE, EXTENT, KEY, LEVELS_FILE, READINGS_FILE
from ltsweep.schema import STATUS as STATUS_FILE
from ltsweep.store.tables import SCHEMAS
from ltsweep.words import printable, shown
from multirun_analysis import cell, configs
from multirun_analysis.errors import AnalysisError, NothingToShow
from multirun_analysis.schema import (
    CELL_COLUMNS,
    CONFIG_COLUMN,
    COUNTED,
    HEADLINE,
    NULLABLE,
    OTHER_CODE,
    RENAMED,
    STATUSES,
)

# Names of studies that an error lists.
_MOST_NAMED = 8

_HOW_TO_WRITE_ONE = "a study is written by `python -m ltsweep` to multirun/<study>/"


@dataclass(frozen=True)
class Study:
    """A study as tables; every table has one column for each config value, by its dotted name.

    path: the study folder; `path / key` is the folder of a cell. Of several studies read together it is the folder
    that holds them all; each has its name in the column `study`, and before the keys of its cells.

    cells: one row a cell: `key, status, reason` (text, empty where all is well)`, level` (the last one
    completed, -1 for none)`, seconds, headline` (the score by which its best model is chosen; null where it has no
    level yet). All tables have its column `headline`.

    levels: one row for each (key, arm, draw, level): `levels.parquet` and `remaining`, a fraction.

    evaluations: one row for each (key, arm, draw, level, evaluation): `evaluations.parquet` and `remaining`.

    readings: one row for each reading of a measurement: `readings.parquet`, as `name` (of what was measured)`, place`
    (a layer, or nothing for the whole network)`, at` (a number along an axis of the measurement's own, or null)` and
    `value`. Empty where nothing was measured.

    Accuracies are fractions, seconds seconds. `lr` is the config's number and `lr_now` the one in force at an
    evaluation; `iterations` is the config's and `iterations_trained` what the level took. The tables of records hold
    the cells that can be read, whatever their `status`, which is a column of each.
    """

    path: Path
    cells: pd.DataFrame
    levels: pd.DataFrame
    evaluations: pd.DataFrame
    readings: pd.DataFrame


def load(*studies: Path) -> Study:
    """Return study folders as tables, several as one study.

    A cell that cannot be read is in `cells`, with its reason, and in no other table. Raises AnalysisError where a
    folder does not exist, has no cells, or is given twice.
    """
    path, names = _named(studies)
    folders = [(name, folder) for study, name in zip(studies, names, strict=True) for folder in cell_folders(study)]
    cells = [one.of(name) for name, one in _one_of_each([(name, cell.read(folder)) for name, folder in folders])]
    frame = _cells(_of_other_code(cells))
    levels = _with_remaining(_tidy(frame, cells, LEVELS_FILE))
    evaluations = _with_remaining(_tidy(frame, cells, EVALUATIONS_FILE))
    return Study(path, _with_reasons(frame, levels), levels, evaluations, _tidy(frame, cells, READINGS_FILE))


def _one_of_each(found: Sequence[tuple[str, cell.Cell]]) -> list[tuple[str, cell.Cell]]:
    """Return (study, cell) with the rows of one cell of each identity within a study.

    Records of version 1 have cells of their own for other numbers of levels and other controls. The cell of today's
    version counts, else the one that goes furthest; the others say in whose favour they are left out.
    """
    best: dict[tuple[str, str], cell.Cell] = {}
    for study, one in found:
        before = best.get((study, one.identity))
        if before is None or _rank(one) > _rank(before):
            best[study, one.identity] = one
    kept = []
    for study, one in found:
        chosen = best[study, one.identity]
        if one.identity and chosen is not one:
            reason = f"the same cell as {chosen.row['key']}, which counts in its place"
            one = one._replace(row=one.row | {"reason": reason}, tables={})
        kept.append((study, one))
    return kept


def _of_other_code(cells: Sequence[cell.Cell]) -> list[cell.Cell]:
    """Return the cells, those with a reason that other code of the user's own made than most cells that name it."""
    made: dict[str, Counter[str]] = {}
    for one in cells:
        for module, digest in one.sources.items():
            made.setdefault(module, Counter())[digest] += 1
    usual = {module: digests.most_common(1)[0][0] for module, digests in made.items()}
    noted = []
    for one in cells:
        other = ", ".join(shown(module) for module, digest in one.sources.items() if digest != usual[module])
        if other and not one.row["reason"]:
            one = one._replace(row=one.row | {"reason": f"{OTHER_CODE} of {other} than most cells here"})
        noted.append(one)
    return noted


def _rank(one: cell.Cell) -> tuple[bool, bool, int]:
    return one.row["key"] == one.identity, bool(one.tables), int(one.row["level"])  # type: ignore[call-overload]


def with_weights(study: Study) -> Study:
    """Return a study without the levels at which no weights remain: they have no place on a log axis.

    The scores there are those of a network without weights.
    """
    levels, evaluations = (records[records["weights_remaining"] > 0] for records in (study.levels, study.evaluations))
    return dataclasses.replace(
        study, levels=levels.reset_index(drop=True), evaluations=evaluations.reset_index(drop=True)
    )


def cell_folders(study: Path) -> list[Path]:
    """Return the cell folders of a study. Raises AnalysisError, with what to do instead, where there are none."""
    if not study.is_dir():
        what = "not a folder" if study.exists() else "no such folder"
        raise AnalysisError(f"{study}: {what}; {_studies(study.parent)}")
    try:
        folders = [path for path in sorted(study.iterdir()) if re.fullmatch(KEY, path.name)]
    except OSError as error:
        raise AnalysisError(f"{study}: cannot be read: {error.strerror}") from None
    if folders:
        return folders
    if (study / STATUS_FILE).exists():
        raise AnalysisError(f"{study}: one cell, not a study; give its study, {study.resolve().parent}")
    raise AnalysisError(f"{study}: no cells in this folder, so it is not a study; {_studies(study)}")


def check_levels(study: Study, *, counted: bool = False) -> None:
    """Raise NothingToShow unless a cell has finished a level; with `counted`, a cell whose numbers enter means."""
    if study.levels.empty:
        raise NothingToShow("no cell has finished a level yet")
    if counted and not study.levels["status"].isin(COUNTED).any():
        raise NothingToShow("no cell has finished a level but failed or diverged ones")


def check_readings(study: Study) -> None:
    """Raise NothingToShow unless a cell of the study has readings."""
    if study.readings.empty:
        raise NothingToShow("no cell has readings: nothing was measured along the way")


def _named(studies: Sequence[Path]) -> tuple[Path, list[str]]:
    """Return the folder below which all cells lie and, where there are several studies, their names in it."""
    if len(studies) == 1:
        return studies[0], [""]
    paths = [study.resolve() for study in studies]
    if len(set(paths)) < len(paths):
        raise AnalysisError(f"{max(studies, key=lambda study: paths.count(study.resolve()))}: given twice")
    parent = Path(os.path.commonpath(paths))
    names = [path.relative_to(parent).as_posix() for path in paths]
    if bad := [name for name in names if printable(name) != name]:
        raise AnalysisError(f"{parent / bad[0]}: its name is no printable text; --together needs one")
    return parent, names


def _cells(cells: Sequence[cell.Cell]) -> pd.DataFrame:
    rows = pd.DataFrame([one.row for one in cells], columns=list(CELL_COLUMNS)).astype({HEADLINE: "category"})
    config = configs.table([one.config for one in cells])
    # Other configs may have the same columns: of two functions under one name, say.
    apart = pd.Series([one.apart for one in cells], dtype="str")
    alike = config.drop(columns=[*EXTENT], errors="ignore").duplicated(keep=False) & apart.ne("")
    if alike.any():
        config = config.assign(**{CONFIG_COLUMN: apart.where(alike).astype("category")})
    return pd.concat([rows.assign(status=pd.Categorical(rows["status"], STATUSES)), config], axis=1)


def _tidy(frame: pd.DataFrame, cells: Sequence[cell.Cell], file: str) -> pd.DataFrame:
    """Return one table of all cells, each row with its cell's key, status and config values."""
    tables = [one.tables.get(file) for one in cells]
    index = np.repeat(np.arange(len(tables)), [table.num_rows if table is not None else 0 for table in tables])
    # A score that a cell's problem does not have is null there.
    there = [table for table in tables if table is not None] or [SCHEMAS[file].empty_table()]
    whole = pa.concat_tables(there, promote_options="default")
    texts = [column.name for column in whole.schema if pa.types.is_string(column.type)]
    records = whole.to_pandas(categories=texts).rename(columns=RENAMED)
    records = records.astype({name: "float64" for name in NULLABLE if name in records})
    config = frame.drop(columns=["reason", "level", "seconds"]).astype({"key": "category"})
    tidy = pd.concat([records, config.take(index).reset_index(drop=True)], axis=1)
    return _in_front(tidy, ["key", "status", "arm", "draw", "level"])


def _with_remaining(records: pd.DataFrame) -> pd.DataFrame:
    """Return records with the fraction of weights remaining, from exact counts, after the level."""
    remaining = records["weights_remaining"] / records["weights_total"]
    return _in_front(records.assign(remaining=remaining), ["key", "status", "arm", "draw", "level", "remaining"])


def _in_front(df: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    return df[[*names, *(name for name in df.columns if name not in names)]]


def _with_reasons(cells: pd.DataFrame, levels: pd.DataFrame) -> pd.DataFrame:
    """Return the cells table with a reason for each done cell whose weights or records end before its last level."""
    bare = levels[levels["weights_remaining"].eq(0)].groupby("key", observed=True)["level"].min().rename(index=str)
    since = cells["key"].map(bare)
    says = "no weights remain from level " + since.astype("Int64").astype("str") + " on"
    cells = cells.assign(reason=cells["reason"].where(since.isna() | cells["reason"].ne(""), says))
    if "levels" not in cells:
        return cells
    last = cells["key"].map(levels.groupby("key", observed=True)["level"].max().rename(index=str)).astype("float64")
    wanted = pd.to_numeric(cells["levels"].astype(object), errors="coerce").astype("float64")
    short = cells["status"].eq(DONE) & (last < wanted)
    ends = zip(last, wanted, strict=True)
    said = [f"done, but its records end at level {at:.0f} of {of:.0f}" for at, of in ends]
    return cells.assign(reason=cells["reason"].where(~short, pd.Series(said, index=cells.index)))


def _studies(folder: Path) -> str:
    """Return the studies in a folder as a phrase, for an error that has to name what to give instead."""
    if not folder.is_dir():
        return f"{folder} does not exist either; {_HOW_TO_WRITE_ONE}"
    names = sorted(path.name for path in folder.iterdir() if next(path.glob(f"*/{STATUS_FILE}"), None))
    if not names:
        return _HOW_TO_WRITE_ONE
    listed = ", ".join(str(folder / name) for name in names[:_MOST_NAMED])
    return f"studies here: {listed}{', ...' if names[_MOST_NAMED:] else ''}"
