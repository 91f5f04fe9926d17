"""A table of cells keeps every value and every message readable, one line a cell, whatever the terminal's width."""

import io
import itertools

import pytest
from rich.console import Console

from ltsweep.grid.cell import Cell
from ltsweep.show.cells import CellTable, Row
from ltsweep.show.labels import varying

GRID = list(itertools.product((0, 1), ("kaiming_n_out", "he_u"), (0.0012, 10)))
CELLS = [
    Cell({"seed": seed, "init": {"name": init}, "lr": {"name": "constant", "value": lr}}, f"{i:016x}")
    for i, (seed, init, lr) in enumerate(GRID)
]
COLUMNS = [("status", "left"), ("level", "left"), ("remaining", "right"), ("test accuracy", "right"), ("key", "left")]
SPARE = ("key", "level", "status", "remaining")
WHY = "RuntimeError: " + " ".join(f"word{i}" for i in range(40)) + " /a/path/" + "x" * 70


def printed(width, message="", spare=SPARE, cells=CELLS):
    rows = [Row(one.key, ("done", "3", "51.6%", f"0.{i:04d}", one.key), message) for i, one in enumerate(cells)]
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(CellTable(varying(cells), COLUMNS, rows, spare, "and more"))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_where_there_is_room_a_cell_is_one_line_with_its_label_and_its_message():
    lines = printed(1_000, WHY)
    assert lines[0].split("  ")[0] == "cell"
    assert lines[1].startswith("seed=0 init=kaiming_n_out lr=0.0012  done    3 ")
    assert lines[1].endswith(f"{CELLS[0].key}  {WHY}")
    assert lines[-1] == "and more"
    assert len(lines) == len(CELLS) + 2


@pytest.mark.parametrize(
    ("width", "heading"),
    [
        (94, ["cell", "status", "level", "remaining", "test", "accuracy", "key"]),
        (90, ["seed", "init", "lr", "status", "level", "remaining", "test", "accuracy", "key"]),
        (79, ["cell", "status", "level", "remaining", "test", "accuracy"]),
        (68, ["seed", "init", "lr", "status", "level", "remaining", "test", "accuracy"]),
        (60, ["seed", "init", "lr", "remaining", "test", "accuracy"]),
        (45, ["seed", "init", "lr", "test", "accuracy"]),
    ],
)
def test_where_there_is_less_every_value_that_varies_stays_on_one_line(width, heading):
    lines = printed(width)
    assert lines[0].split() == heading
    assert max(map(len, lines)) <= width
    assert len(lines) == len(CELLS) + 2
    for i, (line, (seed, init, lr)) in enumerate(zip(lines[1:-1], GRID, strict=True)):
        words = line.replace("seed=", "").replace("init=", "").replace("lr=", "").split()
        assert words[:3] == [str(seed), init, str(lr)]
        assert f"0.{i:04d}" in words


def test_columns_that_are_not_spare_are_never_left_out():
    for width in range(20, 200):
        assert {"status", "key"} <= set(printed(width, spare=("level", "remaining"))[0].split()) or width < 60


@pytest.mark.parametrize("width", [24, 40, 60, 100])
def test_a_message_is_wrapped_and_whole_below_the_keys_of_its_cells(width):
    lines = printed(width, WHY)
    assert max(map(len, lines)) <= width
    below = lines[lines.index("and more") + 1 :]
    assert "".join(below).replace(" ", "").endswith(WHY.replace(" ", ""))
    assert "".join(below).count("RuntimeError") == 1
    for one in CELLS:
        assert sum(one.key in line for line in below) == 1


@pytest.mark.parametrize("width", [24, 30])
def test_where_there_is_hardly_room_a_label_is_wrapped_and_whole(width):
    text = "".join(printed(width)).replace(" ", "")
    for seed in (0, 1):
        assert f"seed={seed}" in text
    assert max(map(len, printed(width))) <= width


def test_a_single_cell_has_no_columns_of_what_varies():
    assert printed(30, cells=CELLS[:1])[0].split() == ["cell", "test", "accuracy"]
