"""The tables of a cell as Parquet, with the columns of `ltsweep.schema`. No torch: the analysis uses it too."""

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ltsweep.errors import BrokenFileError
from ltsweep.schema import (
    EVALUATIONS_FILE,
    MOST_LEVELS,
    READINGS_FILE,
    TABLES,
    TICKET,
    TICKET_ARM,
    columns_of,
    is_nullable,
    scores_of,
)
from ltsweep.store import disk

Row = dict[str, Any]


def arrow(columns: Mapping[str, str]) -> pa.Schema:
    """Return columns, name -> type, as Arrow's schema."""
    types = {"list<string>": pa.list_(pa.string()), "list<int64>": pa.list_(pa.int64())}
    return pa.schema([(name, types.get(kind) or pa.type_for_alias(kind)) for name, kind in columns.items()])


# Bytes and rows of a table, characters of a text and seconds in it, above which it is not read.
_MOST_BYTES, _MOST_ROWS, _MOST_TEXT, _MOST_SECONDS = 1 << 29, 1_000_000, 1_000, 1e12
# Rows that are read at a time.
_AT_ONCE = 1 << 16

# Those of classification, whatever is measured.
SCHEMAS = {file: arrow(columns) for file, columns in TABLES.items()}


@functools.lru_cache
def _schema(file: str, names: tuple[str, ...]) -> pa.Schema:
    """Return the schema that the table `file` is to have, given its columns. Raises ValueError for no problem's."""
    return arrow(columns_of(file, names))


def as_parquet(file: str, rows: Sequence[Row]) -> bytes:
    """Return rows as the content of the table `file`, with a checksum on every page.

    Raises BrokenFileError for rows that `read` would refuse.
    """
    if any(row.keys() != rows[0].keys() for row in rows):
        raise BrokenFileError("has rows of several problems")
    table = pa.Table.from_pylist(list(rows), schema=_schema(file, tuple(rows[0])) if rows else SCHEMAS[file])
    _check_rows(table)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=True)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def read(path: Path, noted: disk.Noted | None = None) -> pa.Table:
    """Return a table as it was written.

    noted: size, time and SHA-256 that the file must have. Raises FileNotFoundError, or BrokenFileError where these, a
    page's checksum, the format, the columns or the rows are not right.
    """
    content = disk.read(path, _MOST_BYTES)
    if noted is not None and hashlib.sha256(content).hexdigest() != noted[2]:
        raise BrokenFileError("does not hold what was written (its SHA-256 is another)")
    try:
        table = _whole(content)
        table.validate(full=True)
    except BrokenFileError:
        raise
    except Exception as error:
        raise BrokenFileError("is not a Parquet file, or not whole") from error
    # Without what other programs say of it beside its columns, which pandas would believe.
    table = _with_columns(table.replace_schema_metadata(None), path.name)
    _check_rows(table)
    return table


def _whole(content: bytes) -> pa.Table:
    """Return a Parquet file's table. Raises BrokenFileError for one that a few bytes make too large for the memory."""
    # ParquetFile, one thread: read_table's data-set machinery costs more than reading a file this small. Nothing is
    # asked of the file's metadata, since that of a broken file can abort the process.
    file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
    batches, size, rows = [], 0, 0
    for batch in file.iter_batches(batch_size=_AT_ONCE, use_threads=False):
        batches.append(batch)
        size, rows = size + batch.nbytes, rows + batch.num_rows
        if size > _MOST_BYTES or rows > _MOST_ROWS:
            raise BrokenFileError(f"holds more than {_MOST_ROWS:,} rows, or {_MOST_BYTES:,} bytes of them")
    return pa.Table.from_batches(batches, schema=file.schema_arrow)


def _with_columns(table: pa.Table, file: str) -> pa.Table:
    """Return a table with the columns of the contract, in its order and types, as another program may write them."""
    try:
        schema = _schema(file, tuple(table.column_names))
        return table if table.schema.equals(schema) else table.select(schema.names).cast(schema)
    except (KeyError, ValueError, pa.ArrowException) as error:
        raise BrokenFileError("does not have the columns of this version") from error


def _check_rows(table: pa.Table) -> None:
    """Raise BrokenFileError unless the rows are such as a cell can have."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        if column.null_count and not is_nullable(name):
            raise BrokenFileError(f"has no {name} in some rows")
        if pa.types.is_integer(column.type) and _least(column) < 0:
            raise BrokenFileError(f"has a {name} below 0")
        if pa.types.is_string(column.type) and _longest(column) > _MOST_TEXT:
            raise BrokenFileError(f"has a {name} of more than {_MOST_TEXT} characters")
    if not table.num_rows:
        return
    if pc.max(table["level"]).as_py() > MOST_LEVELS:
        raise BrokenFileError(f"has a level above {MOST_LEVELS:,}")
    names = set(table.column_names)
    if "weights_total" in names:
        left, there = table["weights_remaining"], table["weights_total"]
        if not _all(pc.less_equal(left, there)) or _least(there) < 1:
            raise BrokenFileError("has more weights remaining than there are")
    if "seconds" in names and not _all(pc.less(pc.abs(table["seconds"]), _MOST_SECONDS)):
        raise BrokenFileError("has seconds that are no number")
    if "layers" in names:
        _check_layers(table)
    by = [name for name in ("arm", "draw", "level", "iteration") if name in names]
    if "value" not in names and table.group_by(by, use_threads=False).aggregate([]).num_rows != table.num_rows:
        raise BrokenFileError("has a row twice")


def _check_layers(table: pa.Table) -> None:
    lengths = [pc.list_value_length(table[name]) for name in ("layers", "layer_remaining", "layer_total")]
    flat = [pc.list_flatten(table[name]) for name in ("layers", "layer_remaining", "layer_total")]
    if not (lengths[0].equals(lengths[1]) and lengths[0].equals(lengths[2])):
        raise BrokenFileError("has layers without a count")
    if any(values.null_count for values in flat) or _longest(flat[0]) > _MOST_TEXT or _least(flat[1]) < 0:
        raise BrokenFileError("has layers without a name or a count")
    if not _all(pc.less_equal(flat[1], flat[2])):
        raise BrokenFileError("has more weights remaining in a layer than there are")


def _all(column: pa.ChunkedArray) -> bool:
    return pc.all(column).as_py() is not False  # None for no rows


def _least(column: pa.ChunkedArray) -> int:
    return pc.min(column).as_py() or 0


def _longest(column: pa.ChunkedArray) -> int:
    return pc.max(pc.utf8_length(column)).as_py() or 0


def check_alike(evaluations: Iterable[str], levels: Iterable[str]) -> None:
    """Raise BrokenFileError unless the columns of a cell's two tables are of one problem's scores."""
    if scores_of(evaluations) != scores_of(levels):
        raise BrokenFileError(f"has other scores than {EVALUATIONS_FILE}")


def ticket_at(path: Path, level: int) -> Row | None:
    """Return the row of the ticket at a level of a table of levels; None without it, or where that cannot be read."""
    try:
        rows: list[Row] = read(path).to_pylist()
    except (FileNotFoundError, BrokenFileError):
        return None
    return next((row for row in rows if (row["arm"], row["level"]) == (TICKET, level)), None)


def arm_of(row: Mapping[str, Any]) -> str:
    """Return the arm of a row as status.json names it."""
    return f"{row['arm']}/{row['draw']}"


def counts(row: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """Return whether a row is of a level that counts, by the fields of status.json; before version 2 of all arms."""
    arms = status.get("arms")
    last: int = status["level"] if arms is None else arms.get(arm_of(row), -1)
    return row["level"] <= last  # type: ignore[no-any-return]


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Return rows by level, iteration and arm, the ticket first: the order does not tell when an arm was added."""
    return sorted(
        rows, key=lambda row: (row["level"], row.get("iteration", 0), row["arm"] != TICKET, row["arm"], row["draw"])
    )


def rows_kept(path: Path, arms: Mapping[str, int]) -> list[Row]:
    """Return the rows that count: those of an arm's levels up to its last finished one.

    arms: arm -> that level, as status.json has them. Raises BrokenFileError for a table that is missing, is not as it
    was written, or lacks a level of an arm before its last one. Only of readings may there be none.
    """
    try:
        table = read(path)
    except FileNotFoundError as error:
        raise BrokenFileError("is missing") from error
    rows: list[Row] = table.to_pylist()
    kept = [row for row in rows if counts(row, {"arms": arms})]
    for arm, last in arms.items() if path.name != READINGS_FILE else ():
        there = {row["level"] for row in kept if arm_of(row) == arm}
        first = 0 if arm == TICKET_ARM else min(there, default=0)  # a dense network has no controls
        if there != set(range(first, last + 1)):
            raise BrokenFileError("lacks rows of a finished level")
    return kept
