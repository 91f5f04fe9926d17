"""From study folders to tidy tables. The only file here that reads records; it writes nothing."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from multirun_analysis import configs
from multirun_analysis.errors import AnalysisError, NothingToShow
from multirun_analysis.schema import COUNTED, EVALUATIONS, KEY, LEVELS, RENAMED, SCHEMA, STATUSES


@dataclass(frozen=True)
class Study:
    """A study as tables; every table has one column for each config value, by its dotted name.

    path: the study folder; `path / key` is the folder of a cell. Of several studies read together it is the folder
    that holds them all; each has its name in the column `study`, and before the keys of its cells.

    cells: one row a cell: `key, status, reason` (text, empty where all is well)`, level` (the last one
    completed, -1 for none)`, seconds`.

    levels: one row for each (key, arm, draw, level): `levels.parquet` and `remaining`, a fraction.

    evaluations: one row for each (key, arm, draw, level, evaluation): `evaluations.parquet` and `remaining`.

    Accuracies are fractions, seconds seconds. `lr` is the config's number and `lr_now` the one in force at an
    evaluation; `iterations` is the config's and `iterations_trained` what the level took. `levels` and
    `evaluations` hold the cells that can be read, whatever their `status`, which is a column of both.
    """

    path: Path
    cells: pd.DataFrame
    levels: pd.DataFrame
    evaluations: pd.DataFrame


def load(*studies: Path) -> Study:
    """Read study folders, several as one. A cell that cannot be read is in `cells`, with its reason, and nowhere else.

    Raises AnalysisError if there is no such folder, if it is not a study with at least one cell, or is given twice.
    """
    path, names = _named(studies)
    cells = [
        _read(folder).of(name) for study, name in zip(studies, names, strict=True) for folder in cell_folders(study)
    ]
    frame = _cells(cells)
    levels = _tidy(frame, [cell.levels for cell in cells], LEVELS)
    evaluations = _tidy(frame, [cell.evaluations for cell in cells], EVALUATIONS)
    return Study(path, frame.pipe(_say_short, levels), levels, evaluations)


def cell_folders(study: Path) -> list[Path]:
    """List the cell folders of a study; raises AnalysisError, saying what to do, where there are none."""
    if not study.is_dir():
        what = "not a folder" if study.exists() else "no such folder"
        raise AnalysisError(f"{study}: {what}; {_studies(study.parent)}")
    folders = sorted(path for path in study.iterdir() if re.fullmatch(KEY, path.name) and path.is_dir())
    if folders:
        return folders
    if (study / "status.json").exists():
        raise AnalysisError(f"{study}: one cell, not a study; give its study, {study.resolve().parent}")
    raise AnalysisError(f"{study}: no cells in this folder, so it is not a study; {_studies(study)}")


def need_levels(study: Study, *, counted: bool = False) -> None:
    """Raise NothingToShow unless a cell of the study, or one that counts in means, has finished a level."""
    if study.levels.empty:
        raise NothingToShow("no cell has finished a level yet")
    if counted and not study.levels["status"].isin(COUNTED).any():
        raise NothingToShow("no cell has finished a level but failed or diverged ones")


def config(cell: Path) -> Mapping[str, object]:
    """Read the resolved config of a cell that `load` could read, whole, `_target_` and all."""
    return _mapping(cell / "config.yaml")


def status(cell: Path) -> Mapping[str, Any]:
    """Read what a cell says of itself; nothing where that cannot be read."""
    try:
        return _mapping(cell / "status.json")
    except _UnreadableError:
        return {}


class _Cell(NamedTuple):
    row: dict[str, object]
    config: dict[str, object]
    evaluations: pa.Table | None = None
    levels: pa.Table | None = None

    def of(self, study: str) -> "_Cell":
        """Name the study, of several, that this cell belongs to."""
        if not study:
            return self
        return self._replace(
            row=self.row | {"key": f"{study}/{self.row['key']}"}, config={"study": study, **self.config}
        )


class _UnreadableError(Exception):
    """A cell's record is torn, missing or of another version; never leaves this file."""


def _read(folder: Path) -> _Cell:
    config: dict[str, object] = {}
    row: dict[str, object] = {"key": folder.name, "status": "unreadable", "level": -1, "seconds": np.nan}
    try:
        config = configs.values(_mapping(folder / "config.yaml"))
        status = _mapping(folder / "status.json")
        state = status.get("status")
        if status.get("schema") != SCHEMA:
            raise _UnreadableError(f"status.json has schema {status.get('schema')}, this analysis reads {SCHEMA}")
        if state not in STATUSES[:-1]:  # `unreadable` is ours to give
            raise _UnreadableError(f"status.json has the unknown status {state!r}")
        row |= {"level": status["level"], "seconds": status["seconds"]}
        evaluations = _parquet(folder / "evaluations.parquet", EVALUATIONS)
        levels = _parquet(folder / "levels.parquet", LEVELS)
        if evaluations is None or levels is None:
            # A cell not done may have stopped before or between the two files; a cell that is done has both.
            evaluations = levels = None
            if state == "done":
                raise _UnreadableError("done, but evaluations.parquet or levels.parquet is missing")
    except _UnreadableError as error:
        return _Cell(row | {"reason": str(error)}, config)
    except KeyError as error:
        return _Cell(row | {"reason": f"status.json lacks {error}"}, config)
    return _Cell(row | {"status": state, "reason": _reason(status)}, config, evaluations, levels)


def _named(studies: Sequence[Path]) -> tuple[Path, list[str]]:
    """Give the folder below which all cells lie and, where there are several studies, their names in it."""
    if len(studies) == 1:
        return studies[0], [""]
    paths = [study.resolve() for study in studies]
    if len(set(paths)) < len(paths):
        raise AnalysisError(f"{max(studies, key=lambda study: paths.count(study.resolve()))}: given twice")
    parent = Path(os.path.commonpath(paths))
    return parent, [path.relative_to(parent).as_posix() for path in paths]


def _mapping(path: Path) -> Mapping[str, object]:
    try:
        text = path.read_bytes()
        # The C loader is ten times as fast as the Python one, which shows from a few hundred cells on.
        found = json.loads(text) if path.suffix == ".json" else yaml.load(text, Loader=yaml.CSafeLoader)
    except FileNotFoundError:
        raise _UnreadableError(f"{path.name} is missing") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _UnreadableError(f"{path.name} cannot be read: {_one_line(error)}") from None
    if not isinstance(found, dict):
        raise _UnreadableError(f"{path.name} cannot be read: it holds no mapping")
    return found


def _parquet(path: Path, schema: pa.Schema) -> pa.Table | None:
    try:
        # ParquetFile, one thread: read_table's data-set machinery costs more than reading a file this small.
        table = pq.ParquetFile(path).read(use_threads=False)
        return table if table.schema.equals(schema) else table.select(schema.names).cast(schema)
    except FileNotFoundError:
        return None
    except (OSError, KeyError, pa.ArrowException) as error:
        raise _UnreadableError(f"{path.name} cannot be read: {_one_line(error)}") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]


def _reason(status: Mapping[str, object]) -> str:
    error = str(status.get("error") or "").strip()
    if error:
        return error.splitlines()[-1]
    if status["status"] == "pending":
        return "not started"
    if status["status"] == "running":
        return f"at level {status['level']} of {status.get('levels')}"
    return "" if status["status"] == "done" else "no reason recorded"


def _cells(cells: list[_Cell]) -> pd.DataFrame:
    rows = pd.DataFrame([cell.row for cell in cells], columns=["key", "status", "reason", "level", "seconds"])
    config = configs.table([cell.config for cell in cells])
    return pd.concat([rows.assign(status=pd.Categorical(rows["status"], STATUSES)), config], axis=1)


def _tidy(cells: pd.DataFrame, tables: list[pa.Table | None], schema: pa.Schema) -> pd.DataFrame:
    """Join the records of all cells, and repeat each cell's config values as often as it has records."""
    filled = [schema.empty_table() if table is None else table for table in tables]
    index = np.repeat(np.arange(len(filled)), [table.num_rows for table in filled])
    records = pa.concat_tables(filled).to_pandas(categories=["arm"]).rename(columns=RENAMED)
    config = cells.drop(columns=["reason", "level", "seconds"]).astype({"key": "category"})
    tidy: pd.DataFrame = pd.concat([records, config.take(index).reset_index(drop=True)], axis=1).assign(
        remaining=lambda df: df["weights_remaining"] / df["weights_total"]
    )
    first = ["key", "status", "arm", "draw", "level", "remaining"]
    return tidy[[*first, *(name for name in tidy.columns if name not in first)]]


def _say_short(cells: pd.DataFrame, levels: pd.DataFrame) -> pd.DataFrame:
    """Give a reason to each cell that says it is done while its records end before its last level."""
    if "levels" not in cells:
        return cells
    last = cells["key"].map(levels.groupby("key", observed=True)["level"].max().rename(index=str)).astype("float64")
    short = cells["status"].eq("done") & (last < cells["levels"])
    ends = zip(last, cells["levels"], strict=True)
    said = [f"done, but its records end at level {at:.0f} of {of:.0f}" for at, of in ends]
    return cells.assign(reason=cells["reason"].where(~short, pd.Series(said, index=cells.index)))


def _studies(folder: Path) -> str:
    """Name the studies in a folder, for an error that has to say what to give instead."""
    if not folder.is_dir():
        return f"{folder} does not exist either; a study is written by `python -m ltsweep` to multirun/<study>/"
    found = sorted(path.name for path in folder.iterdir() if next(path.glob("*/status.json"), None))
    if not found:
        return "a study is written by `python -m ltsweep` to multirun/<study>/"
    return "studies here: " + ", ".join(str(folder / name) for name in found[:8]) + (", ..." if found[8:] else "")
