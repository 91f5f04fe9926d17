"""Two folders of one cell: what differs is found and placed, and what does not matter is not."""

import math
from pathlib import Path

import pytest

from ltsweep.grid.cell import Cell
from ltsweep.schema import EVALUATIONS, EVALUATIONS_FILE
from ltsweep.store import disk, tables
from ltsweep.store.comparison import differences, nearest

A, B = "a" * 64, "b" * 64


def row(level, iteration, **changes):
    plain = {name: 0.5 if kind == "float64" else 1 for name, kind in EVALUATIONS.items()}
    return {**plain, "arm": "ticket", "draw": 0, "level": level, "iteration": iteration, **changes}


@pytest.fixture
def pair(tmp_path):
    """Return a function from the rows of two folders, and statuses, to the differences between them."""

    def compared(mine, theirs, said=(), says=()):
        folders, statuses = [], []
        for name, rows, fields in (("one", mine, said), ("other", theirs, says)):
            folder = tmp_path / name
            folder.mkdir()
            if rows:
                disk.write(folder / EVALUATIONS_FILE, tables.as_parquet(EVALUATIONS_FILE, rows))
            folders.append(folder)
            statuses.append({"status": "done", "level": 1, "files": {}, **dict(fields)})
        return differences(*folders, *statuses)

    return compared


def test_seconds_and_equal_nans_are_no_difference(pair):
    mine = [row(0, 4, train_loss=math.nan, seconds=1.0), row(1, 4, lr=None)]
    assert pair(mine, [{**one, "seconds": 9.0} for one in reversed(mine)]) == []


def test_the_largest_difference_of_a_score_is_placed(pair):
    mine = [row(0, 4), row(1, 4), row(1, 8, weights_remaining=1)]
    theirs = [row(0, 4, test_loss=0.6), row(1, 4, val_loss=0.1), row(1, 8, weights_total=99)]
    (line,) = pair(mine, theirs)
    assert line == "3 rows of evaluations.parquet, most in val_loss (ticket, draw 0, level 1, iteration 4): 0.5 and 0.1"


def test_a_number_against_none_is_the_largest(pair):
    (line,) = pair([row(0, 4, test_loss=math.nan)], [row(0, 4, val_loss=9.0)])
    assert line.endswith("most in test_loss (ticket, draw 0, level 0, iteration 4): nan and 0.5")


def test_levels_that_one_alone_has_finished_are_named_not_compared(pair):
    running = {"status": "running", "level": 0}
    (line,) = pair([row(0, 4), row(1, 4)], [row(0, 4), row(1, 4, test_loss=9.0)], says=running)
    assert line == "done at level 1, and running at level 0"


def test_rows_and_tickets_that_differ(pair):
    mine = {"files": {"tickets/init.safetensors": [1, 2, A], "tickets/level_01.safetensors": [1, 2, A]}}
    theirs = {"files": {"tickets/init.safetensors": [9, 9, A], "tickets/level_01.safetensors": [1, 2, B]}}
    assert pair([row(0, 4), row(1, 4)], [row(0, 4)], mine, theirs) == [
        "1 row of evaluations.parquet in one alone",
        "other weights or masks in tickets/level_01.safetensors",
    ]


def test_what_cannot_be_read_is_a_difference(pair, tmp_path):
    (line,) = pair([], [], says={"status": "unreadable", "error": "status.json is not whole"})
    assert line == f"{tmp_path / 'other'} cannot be read: status.json is not whole"


def test_a_torn_table_is_named(pair, tmp_path, monkeypatch):
    read = tables.read
    monkeypatch.setattr(tables, "read", lambda path, noted: read(Path(f"{path}.torn"), noted))
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{EVALUATIONS_FILE}.torn").write_bytes(b"PAR1")
    found = differences(*(tmp_path / name for name in ("one", "other")), *[{"status": "done", "level": 1}] * 2)
    assert found == [
        f"{tmp_path / name / EVALUATIONS_FILE} is not a Parquet file, or not whole" for name in ("one", "other")
    ]


def test_the_nearest_cell_differs_in_the_fewest_values():
    def cell(key, **values):
        return Cell(
            {"seed": 0, "init": {"name": "he_n", "gain": 1.0}, "lr": {"name": "step", "value": 0.1}, **values}, key
        )

    far, near = cell("far", seed=1, levels=2), cell("near", init={"name": "he_u", "gain": 1.0})
    found = nearest(cell("mine"), [far, near])
    assert found == (near, {"init": ("he_n", "he_u")})
    assert nearest(near, []) is None
