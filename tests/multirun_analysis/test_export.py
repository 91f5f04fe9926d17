"""Exported tables hold what the records hold: all rows, all digits, lists as lists or as a column a layer."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from multirun_analysis import export
from multirun_analysis.load import Study, load


@pytest.mark.parametrize("name", export.TABLES)
def test_parquet_is_the_tidy_table(mixed: Study, name: str) -> None:
    tidy = export.TABLES[name](mixed)
    back = pd.read_parquet(io.BytesIO(export.parquet(tidy)))
    assert list(back.columns) == list(tidy.columns)
    for column in tidy:
        if column.startswith("layer"):
            assert [list(row) for row in back[column]] == [list(row) for row in tidy[column]]
        else:
            pd.testing.assert_series_equal(back[column].astype(object), tidy[column].astype(object))


def test_csv_has_every_row_and_every_digit(mixed: Study) -> None:
    back = pd.read_csv(io.BytesIO(export.csv(mixed.evaluations)), dtype="str")  # pandas up to 2 loses a last digit
    assert list(back.columns) == list(mixed.evaluations.columns)
    for column in ("test_accuracy", "train_loss", "remaining", "lr", "init.gain"):
        assert back[column].map(float).tolist() == mixed.evaluations[column].tolist()
    assert back["method.controls"].tolist() == mixed.evaluations["method.controls"].astype("str").tolist()


def test_csv_has_a_column_a_layer(mixed: Study) -> None:
    back = pd.read_csv(io.BytesIO(export.csv(mixed.levels)))
    counts = [name for name in back.columns if name.startswith("layer")]
    assert counts == [
        f"layer_{what}.{layer}.weight" for what in ("remaining", "total") for layer in ("fc1", "fc2", "output")
    ]
    for row, tidy in zip(back.to_dict("records"), mixed.levels.to_dict("records"), strict=True):
        for layer, left, total in zip(tidy["layers"], tidy["layer_remaining"], tidy["layer_total"], strict=True):
            assert (row[f"layer_remaining.{layer}"], row[f"layer_total.{layer}"]) == (left, total)


def test_networks_of_other_layers_leave_theirs_empty(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(levels=1, epochs=1)
    levels = load(tmp_path / "made_up").levels
    other = levels.assign(layers=[["conv"]] * 2, layer_remaining=[[7]] * 2, layer_total=[[9]] * 2)
    both = pd.concat([levels, other], ignore_index=True)
    back = pd.read_csv(io.BytesIO(export.csv(both)))
    assert back["layer_total.conv"].tolist() == pytest.approx([np.nan, np.nan, 9, 9], nan_ok=True)
    assert back["layer_remaining.fc2.weight"].tolist() == pytest.approx([30000, 24000, np.nan, np.nan], nan_ok=True)


def test_the_same_records_are_the_same_bytes(mixed: Study, mixed_folder: Path) -> None:
    again = load(mixed_folder)
    for write in export.FORMATS.values():
        assert write(mixed.levels) == write(again.levels)
