"""What a study looks like where there is no terminal, line by line, and what the live table shows."""

import io
import itertools
from pathlib import Path

import pytest
from rich.console import Console

from ltsweep.grid.cell import Cell
from ltsweep.show import table
from ltsweep.show.events import News
from ltsweep.show.live import live
from ltsweep.show.table import LiveTable, closing_table
from ltsweep.show.watcher import Watcher

STUDY = Path("multirun/x")
KEYS = [f"{i:016x}" for i in range(4)]
CELLS = [
    Cell({"seed": seed, "levels": 2, "lr": {"name": "constant", "value": lr}}, key)
    for (seed, lr), key in zip(itertools.product((0, 1), (0.1, 0.2)), KEYS, strict=True)
]
TOTALS = {KEYS[0]: (30, 10), KEYS[1]: (30, 0), KEYS[2]: (30, 0)}


@pytest.fixture
def clock(monkeypatch):
    """Let three seconds pass between any two looks at the clock."""
    ticks = itertools.count(0, 3)
    monkeypatch.setattr(table.time, "monotonic", lambda: next(ticks))


def lines(capsys):
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_a_study_from_its_plan_to_its_end(clock, capsys):
    shown: Watcher = LiveTable()
    shown.announce(STUDY, CELLS, TOTALS)
    shown.note("a [b] note :x:")
    shown.show(News(KEYS[0], "running", 1, 15, 0.5, 0.8, "accuracy"))
    for step in range(9):
        shown.show(News(KEYS[1], "running", 0, step, 0.25, 1.0, "accuracy"))
    shown.show(News(KEYS[0], "done", 2, 30, 0.75, 0.64, "accuracy"))
    shown.show(News(KEYS[1], "failed"))
    shown.show(News(KEYS[2], "running", 1, 12))
    assert lines(capsys) == [
        "multirun/x: 4 cells, 1 already finished, 3 to compute, 1 of them from where they stopped",
        "a [b] note :x:",
        "0 of 3 cells ended, 18 min 30 s left; seed=0 lr=0.2 level 0, 100.0% remaining, test accuracy 0.2500",
        "0 of 3 cells ended, 9 min 48 s left; seed=0 lr=0.2 level 0, 100.0% remaining, test accuracy 0.2500",
        "done      seed=0 lr=0.1, 64.0% remaining, test accuracy 0.7500",
        "failed    seed=0 lr=0.2, 100.0% remaining, test accuracy 0.2500",
    ]
    Console(width=100, highlight=False, soft_wrap=True).print(shown.render())
    counts, _, _, heading, row = lines(capsys)
    assert counts.startswith("1 done, 1 failed, 1 running, ")
    assert heading == "cell           level  remaining  test accuracy"
    assert row == "seed=1 lr=0.1  1 / 2"
    shown.close()
    assert lines(capsys) == []


@pytest.mark.parametrize(
    ("cells", "totals", "again", "plan"),
    [
        (CELLS[:1], {KEYS[0]: (30, 10)}, True, "1 cell, 1 to compute again, 1 of them from where they stopped"),
        (CELLS, {}, False, "4 cells, 4 already finished, nothing to compute"),
        (CELLS[:2], dict.fromkeys(KEYS[:2], (30, 0)), False, "2 cells, 2 to compute"),
    ],
)
def test_plans(capsys, cells, totals, again, plan):
    LiveTable(again=again).announce(STUDY, cells, totals)
    assert lines(capsys) == [f"multirun/x: {plan}"]


def test_closing_before_anything_was_announced_is_nothing(capsys):
    LiveTable().close()
    assert lines(capsys) == []


def test_a_terminal_gets_a_live_table_that_goes_away(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    shown = LiveTable()
    shown.announce(STUDY, CELLS, TOTALS)
    shown.show(News(KEYS[0], "running", 1, 15, 0.5, 0.8, "accuracy"))
    shown.close()
    out = capsys.readouterr().out
    assert "test accuracy" in out
    assert "\x1b[?25h" in out  # the cursor is shown again


def test_a_change_of_the_terminals_size_clears_it_and_prints_again_what_stood_above():
    """Once for a change, and never without: the lines above the table are the user's."""
    console = Console(file=io.StringIO(), force_terminal=True, width=60, height=24, color_system=None)
    display = live(lambda: "the frame", lambda: "the plan", console)
    display.start()

    def drawn():
        console.file.seek(0)
        console.file.truncate()
        display.refresh()
        return console.file.getvalue()

    drawn()
    assert "\x1b[2J" not in drawn()
    for size in ((40, 24), (40, 12), (90, 30)):
        console.size = size
        out = drawn()
        assert out.startswith("\x1b[H\x1b[2J")
        assert out.split("\x1b[2J")[1].splitlines() == ["the plan", "the frame"]
        assert "the plan" not in drawn()
    display.stop()


def test_the_live_table_fits_the_terminal(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    cells = [Cell({"seed": seed, "levels": 2}, f"{seed:016x}") for seed in range(40)]
    for lines_, rows in ((24, 16), (16, 10), (5, 1)):
        monkeypatch.setenv("LINES", str(lines_))
        monkeypatch.setenv("COLUMNS", "60")
        shown = LiveTable()
        shown.announce(STUDY, cells, dict.fromkeys((cell.key for cell in cells), (30, 0)))
        for cell in cells:
            shown.show(News(cell.key, "running", 1))
        out = io.StringIO()
        Console(file=out, width=60).print(shown.render())
        assert out.getvalue().count("seed=") == rows
        assert f"and {40 - rows} more" in out.getvalue()
        shown.close()


def test_the_closing_table_says_how_each_cell_ended(capsys):
    failed = {"status": "failed", "level": -1, "error": "x\nRuntimeError: [y] :x:\n"}
    closing_table(CELLS, {KEYS[0]: {"status": "done", "level": 2}, KEYS[1]: failed}, STUDY)
    assert lines(capsys) == [
        "cell           status  level  remaining  test score  key",
        "seed=0 lr=0.1  done    2                             0000000000000000",
        "seed=0 lr=0.2  failed  0                             0000000000000001  RuntimeError: [y] :x:",
        "1 done, 1 failed",
        "logs     multirun/x/<key>/cell.log",
        "figures  python -m multirun_analysis multirun/x",
    ]


def test_many_cells_are_counted_and_only_those_that_are_not_done_are_named(capsys):
    cells = [Cell({"seed": seed, "levels": 2}, f"{seed:016x}") for seed in range(240)]
    statuses = {cell.key: {"status": "done" if i < 120 else "failed", "level": 2} for i, cell in enumerate(cells)}
    closing_table(cells, statuses, STUDY)
    out = lines(capsys)
    assert [line.split()[0] for line in out[1:101]] == [f"seed={seed}" for seed in range(120, 220)]
    assert out[101:103] == ["and 20 more that are not done", "120 done, 120 failed"]
