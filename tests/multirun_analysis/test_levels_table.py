"""Which levels are shown, and their names."""

import pandas as pd
import pytest

from multirun_analysis import levels
from multirun_analysis.view import View


@pytest.mark.parametrize(
    ("there", "picked"),
    [([], []), ([0], [0]), ([0, 1], [0, 1]), (range(5), [0, 1, 2, 3, 4]), (range(36), [0, 9, 18, 26, 35])],
)
def test_spread_has_the_dense_level_and_the_last(there: list[int], picked: list[int]) -> None:
    assert levels.spread(pd.Series(there, dtype="int64")) == picked


def test_levels_asked_for_are_the_nearest_by_ratio() -> None:
    records = pd.DataFrame({"level": range(16), "remaining": [0.8**level for level in range(16)]})
    assert levels.levels_at(records, View(remaining=(1.0, 0.2, 0.21, 1e-9))) == [0, 7, 15]
    assert levels.levels_at(records, View(), 4) == [0, 5, 10, 15]


def test_levels_are_named_by_what_remains_unless_that_differs() -> None:
    frame = pd.DataFrame({"level": [0, 1, 1], "remaining": [1.0, 0.512, 0.5123]})
    assert levels.level_names(frame).tolist() == ["100 % (dense)", "51.2 %", "51.2 %"]
    assert levels.level_names(frame.replace(0.5123, 0.8)).tolist() == ["level 0 (dense)", "level 1", "level 1"]


def test_percent_is_read_at_a_glance() -> None:
    assert [levels.percent(at) for at in (1.0, 0.51283, 0.0695, 0.0358, 0.0012)] == ["100", "51.3", "7", "3.6", "0.12"]
