"""The cells of a grid are counted without being made."""

import itertools

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from ltsweep.errors import UserError
from ltsweep.grid.size import check_size, count_values

HUGE = "9" * 400


def parsed(*lines):
    return OverridesParser.create().parse_overrides(list(lines))


@pytest.mark.parametrize(
    "line",
    ["seed=1", "seed=1,2,3", "seed=choice(1,2)", "seed=range(7)", "seed=range(3,10,3)", "seed=range(10,3,-2)",
     "seed=range(5,1)", "lr.value=range(0.1,1.0,0.25)", "lr.value=range(1.0,0.0,-0.3)", "seed=shuffle(range(5))",
     "seed=sort(range(9),reverse=true)", "model.input_shape=[1,2],[3]", "seed=tag(a,range(4))"],
)  # fmt: skip
def test_as_many_as_hydra_makes(line):
    (override,) = parsed(line)
    made = len(list(override.sweep_iterator())) if override.is_sweep_override() else 1
    assert count_values(override) == made


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-9, 9).filter(bool))
def test_any_range(start, stop, step):
    assert count_values(*parsed(f"seed=range({start},{stop},{step})")) == len(range(start, stop, step))


@pytest.mark.parametrize(
    "lines",
    [["seed=range(10000000000)"], ["seed=range(100)", "lr.value=range(100)", "epochs=1,2"], [f"seed=range({HUGE})"],
     ["lr.value=range(0.0,1.0,1e-9)"], ["seed=range(0,1e300)"], [f"seed=shuffle(range({HUGE}))"],
     ["lr.value=range(1e30,2e30,1e-30)"]],
)  # fmt: skip
def test_a_grid_too_large_is_one_line_at_once(lines):
    with pytest.raises(UserError, match=r"^the grid has .{1,40} cells, more than max_cells=10,000; .*") as caught:
        check_size(parsed(*lines), 10_000)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", ["seed=range(0,inf)", "seed=range(0,nan)", "seed=range(0,9,0)", "seed=range(-inf,0)"])
def test_a_range_without_an_end_is_one_line(line):
    with pytest.raises(UserError, match="two ends and a step"):
        check_size(parsed(line), 10)


def test_the_last_sweep_of_a_name_counts():
    check_size(parsed("seed=range(1000)", "lr=1,2", "seed=range(5)"), 10)
    with pytest.raises(UserError, match=r"the grid has 2,000 cells, more than max_cells=10"):
        check_size(parsed("seed=range(5)", "lr=1,2", "seed=range(1000)"), 10)


@pytest.mark.parametrize("most", [0, -1, None, True, 1.5, "many", 10**30])
def test_max_cells_is_a_whole_number(most):
    with pytest.raises(UserError, match=r"^max_cells=.* is out of range: max_cells is a whole number from 1"):
        check_size([], most)


def test_an_empty_sweep_makes_an_empty_grid():
    check_size(parsed("seed=range(0)", f"lr.value=range({HUGE})"), 1)
    assert list(itertools.product([], range(3))) == []
