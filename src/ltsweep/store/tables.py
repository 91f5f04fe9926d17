"""The tables of a cell as Parquet, with the columns of `ltsweep.schema`. No torch: the analysis uses it too."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ltsweep.errors import BrokenFileError
from ltsweep.schema import READINGS_FILE, TABLES
from ltsweep.store import disk

Row = dict[str, Any]


def arrow(columns: Mapping[str, str]) -> pa.Schema:
    """Return columns, name -> type, as Arrow's schema."""
    types = {"list<string>": pa.list_(pa.string()), "list<int64>": pa.list_(pa.int64())}
    return pa.schema([(name, types.get(kind) or pa.type_for_alias(kind)) for name, kind in columns.items()])


SCHEMAS = {file: arrow(columns) for file, columns in TABLES.items()}


def as_parquet(file: str, rows: Sequence[Row]) -> bytes:
    """Return rows as the content of the table `file`, with a checksum on every page."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMAS[file]), sink, write_page_checksum=True)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def read(path: Path) -> pa.Table:
    """Return a table as it was written.

    Raises FileNotFoundError, or BrokenFileError where a page's checksum, the format or the columns are not right.
    """
    content = disk.read(path)
    try:
        table = pq.read_table(pa.BufferReader(content), page_checksum_verification=True)
    except Exception as error:
        raise BrokenFileError("is not a Parquet file, or not whole") from error
    if not table.schema.equals(SCHEMAS[path.name]):
        raise BrokenFileError("does not have the columns of this version")
    return table


def rows_before(path: Path, level: int) -> list[Row]:
    """Return the rows of the levels before `level`.

    Raises BrokenFileError for a table that is missing, is not as it was written, or lacks one of these levels. Only of
    readings may a level have none.
    """
    try:
        table = read(path)
    except FileNotFoundError as error:
        raise BrokenFileError("is missing") from error
    rows: list[Row] = table.to_pylist()
    kept = [row for row in rows if row["level"] < level]
    if path.name != READINGS_FILE and {row["level"] for row in kept} != set(range(level)):
        raise BrokenFileError("lacks rows of a finished level")
    return kept
