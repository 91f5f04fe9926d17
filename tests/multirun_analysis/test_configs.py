"""From resolved configs to columns."""

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from multirun_analysis import configs


def test_groups_stand_as_their_choice_and_numbered_ones_as_their_number() -> None:
    found = configs.values(
        {
            "seed": 3,
            "iterations": None,
            "device": "cpu",
            "study": "x",
            "data_dir": "d",
            "force": True,
            "init": {"name": "xavier_u", "_target_": "a.b", "gain": 1.5, "nested": {"deep": [1, "two"]}},
            "lr": {"name": "step", "value": 0.1, "at": [10, 20]},
            "prune_rate": {"name": "by_type", "value": None, "conv": 0.15},
        }
    )
    assert found == {
        "seed": 3,
        "iterations": None,
        "init": "xavier_u",
        "init.gain": 1.5,
        "init.nested.deep": "[1,two]",
        "lr": 0.1,
        "lr.name": "step",
        "lr.at": "[10,20]",
        "prune_rate": None,
        "prune_rate.name": "by_type",
        "prune_rate.conv": 0.15,
    }


def test_a_config_value_never_takes_the_name_of_a_measured_one() -> None:
    assert configs.values({"seconds": 1, "key": "k"}) == {"config.seconds": 1, "config.key": "k"}


def test_columns_have_the_narrowest_type_that_holds_their_values() -> None:
    table = configs.table(
        [
            {"a": 1, "b": 1, "c": True, "d": "x", "e": 1, "f": None},
            {"a": 2, "b": 0.5, "c": False, "d": "y", "e": "z"},
        ]
    )
    kinds = {"a": "int64", "b": "float64", "c": "bool", "d": "category", "e": "category", "f": "float64"}
    assert table.dtypes.astype(str).to_dict() == kinds
    assert table["e"].tolist() == ["1", "z"]


def test_a_cell_from_before_a_field_has_the_value_that_does_what_the_code_did_then() -> None:
    older = {"seed": 0, "dataset": {"name": "mnist"}}
    newer = {"seed": 1, "evaluate_train": True, "dataset": {"name": "mnist", "augment": []}}
    table = configs.table([configs.values(older), configs.values(newer), {}])
    assert table["evaluate_train"].tolist()[:2] == ["True", "True"]
    assert table["dataset.augment"].tolist()[:2] == ["[]", "[]"]
    assert table.iloc[2].isna().all()  # a config that cannot be read
    assert "evaluate_train" not in configs.table([configs.values(older)])


@settings(deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from("abc"), st.none() | st.integers(-9, 9) | st.sampled_from(["", "x", "1"])))
)
def test_every_value_is_in_its_row_and_what_is_lacking_is_null(rows: list[dict[str, object]]) -> None:
    table = configs.table(rows)
    assert len(table) == len(rows)
    for i, row in enumerate(rows):
        for name in table:
            value, found = row.get(str(name)), table[name].iloc[i]
            assert pd.isna(found) if value is None else str(found) in (str(value), f"{value}.0")


def test_older_cells_are_not_told_apart_by_a_value_that_came_later() -> None:
    """A study of 0.1 grows by seeds of today: its older cells lack `label_smoothing`."""
    found = configs.table([{"seed": 0}, {"seed": 1, "label_smoothing": 0.0, "clip": None}, {"label_smoothing": 0.1}])
    assert found["label_smoothing"].tolist() == [0.0, 0.0, 0.1]
    assert found["clip"].isna().all()
