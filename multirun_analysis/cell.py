"""One cell's folder, read with every way it can be wrong. The only file here that reads config, status and tables."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from ltsweep.schema import CONFIG, DONE, EVALUATIONS_FILE, LEVELS_FILE, PENDING, READINGS_FILE, RUNNING, VERSION
from ltsweep.schema import STATUS as STATUS_FILE
from ltsweep.schema import STATUSES as WRITTEN
from ltsweep.store.tables import SCHEMAS
from multirun_analysis import configs
from multirun_analysis.schema import UNREADABLE

# Characters of a library's error message that a reason quotes.
_QUOTED = 160


class Cell(NamedTuple):
    """One cell: its row of the cells table, its config values by column, and its tables by file name."""

    row: dict[str, object]
    config: dict[str, object]
    tables: Mapping[str, pa.Table] = {}

    def of(self, study: str) -> "Cell":
        """Return the cell with the name of its study, where several are read as one, in its key and config."""
        if not study:
            return self
        named = self.row | {"key": f"{study}/{self.row['key']}"}
        return self._replace(row=named, config={"study": study, **self.config})


def read(folder: Path) -> Cell:
    """Return the cell of a folder. One that cannot be read has the status `unreadable`, a reason and no tables."""
    config: dict[str, object] = {}
    row: dict[str, object] = {"key": folder.name, "status": UNREADABLE, "level": -1, "seconds": np.nan}
    try:
        config = configs.values(_mapping(folder / CONFIG))
        said = _mapping(folder / STATUS_FILE)
        state = said.get("status")
        if said.get("schema") != VERSION:
            raise _UnreadableError(f"{STATUS_FILE} has schema {said.get('schema')}, this analysis reads {VERSION}")
        if state not in WRITTEN:
            raise _UnreadableError(f"{STATUS_FILE} has the unknown status {state!r}")
        row |= {"level": said["level"], "seconds": said["seconds"]}
        tables = _tables(folder, done=state == DONE)
    except _UnreadableError as error:
        return Cell(row | {"reason": str(error)}, config)
    except KeyError as error:
        return Cell(row | {"reason": f"{STATUS_FILE} lacks {error}"}, config)
    return Cell(row | {"status": state, "reason": _reason(said)}, config, tables)


def config(cell: Path) -> Mapping[str, object]:
    """Return the resolved config of a cell that `load` could read, whole, `_target_` and all."""
    return _mapping(cell / CONFIG)


def status(cell: Path) -> Mapping[str, Any]:
    """Return what a cell's status.json holds; nothing where it cannot be read."""
    try:
        return _mapping(cell / STATUS_FILE)
    except _UnreadableError:
        return {}


class _UnreadableError(Exception):
    """A cell's record is torn, missing or of another version; never leaves this file."""


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


def _tables(folder: Path, *, done: bool) -> dict[str, pa.Table]:
    found = {file: _table(folder / file) for file in SCHEMAS}
    if found[EVALUATIONS_FILE] is None or found[LEVELS_FILE] is None:
        if done:
            raise _UnreadableError(f"done, but {EVALUATIONS_FILE} or {LEVELS_FILE} is missing")
        # A cell that is not done may have stopped before or between its files; a done one has both.
        found |= {EVALUATIONS_FILE: None, LEVELS_FILE: None, READINGS_FILE: None}
    return {file: table for file, table in found.items() if table is not None}


def _table(path: Path) -> pa.Table | None:
    """Return a table with the columns of the contract; None where there is no such file."""
    try:
        # ParquetFile, one thread: read_table's data-set machinery costs more than reading a file this small.
        table = pq.ParquetFile(path).read(use_threads=False)
        return table if table.schema.equals(SCHEMAS[path.name]) else _cast(table, SCHEMAS[path.name])
    except FileNotFoundError:
        return None
    except (OSError, KeyError, pa.ArrowException) as error:
        raise _UnreadableError(f"{path.name} cannot be read: {_one_line(error)}") from None


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table that another program wrote with the columns of the contract, in its order and types."""
    return table.select(schema.names).cast(schema)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_QUOTED]


def _reason(said: Mapping[str, object]) -> str:
    """Return why a cell is not done, in a line; empty for one that is."""
    error = str(said.get("error") or "").strip()
    if error:
        return error.splitlines()[-1]
    if said["status"] == PENDING:
        return "not started"
    if said["status"] == RUNNING:
        return f"at level {said['level']} of {said.get('levels')}"
    return "" if said["status"] == DONE else "no reason recorded"
