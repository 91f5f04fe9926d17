"""A study as tidy files for other programs: a row for each level, each evaluation, and each reading."""

import io
from collections.abc import Callable

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from multirun_analysis.load import Study, check_readings

# Columns of lists with an entry for each layer.
_LAYERS = ["layers", "layer_remaining", "layer_total"]


def readings(study: Study) -> pd.DataFrame:
    """Return the readings of a study. Raises NothingToShow where there are none: an empty file would mislead."""
    check_readings(study)
    return study.readings


# The files, by name, and the tidy table of each: all columns, config values included.
TABLES: dict[str, Callable[[Study], pd.DataFrame]] = {
    "levels": lambda study: study.levels,
    "evaluations": lambda study: study.evaluations,
    "readings": readings,
}


def csv(df: pd.DataFrame) -> bytes:
    """Return a table as CSV: a header, null as nothing, numbers with all their digits.

    CSV has no lists: `layers, layer_remaining, layer_total` become a column a layer, `layer_remaining.fc1.weight` and
    `layer_total.fc1.weight`, empty in the rows of networks without that layer.
    """
    buffer = io.BytesIO()
    # Arrow's writer, not pandas': the evaluations of 10,000 cells are 1.75 million rows.
    pyarrow.csv.write_csv(_arrow(_one_column_a_layer(df)), buffer)
    return buffer.getvalue()


def parquet(df: pd.DataFrame) -> bytes:
    """Return a table as Parquet, lists as lists."""
    buffer = io.BytesIO()
    pq.write_table(_arrow(df), buffer)
    return buffer.getvalue()


# The function that writes each kind of file; the kind is also the file's ending.
FORMATS: dict[str, Callable[[pd.DataFrame], bytes]] = {"csv": csv, "parquet": parquet}


def _arrow(df: pd.DataFrame) -> pa.Table:
    """Return a table with plain text in place of categories."""
    table = pa.Table.from_pandas(df, preserve_index=False).replace_schema_metadata()
    plain = [
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(plain))


def _one_column_a_layer(df: pd.DataFrame) -> pd.DataFrame:
    if "layers" not in df:
        return df
    counts = df[_LAYERS].explode(_LAYERS)
    wide = counts.dropna().pivot(columns="layers")  # noqa: PD010  # no aggregation: a row has a layer once
    wide.columns = wide.columns.map(".".join)
    layers = counts["layers"].dropna().unique()
    order = [f"{count}.{layer}" for count in _LAYERS[1:] for layer in layers]
    return df.drop(columns=_LAYERS).join(wide[order].astype("Int64"))
