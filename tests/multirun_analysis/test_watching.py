"""Watching: made anew when a cell changes, over when all have ended, and left by Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from multirun_analysis import watching
from multirun_analysis.errors import AnalysisError


def end(cell: Path, status: str = "done") -> None:
    """Write a cell's status as its engine does: aside, then moved."""
    aside = cell / ".status.json"
    before = {name: value for name, value in json.loads((cell / "status.json").read_text()).items() if name != "sha256"}
    aside.write_text(json.dumps(before | {"status": status}))
    aside.replace(cell / "status.json")


def test_each_cell_that_ends_is_drawn_and_the_last_one_ends_it(write_cell: Callable[..., str], tmp_path: Path) -> None:
    study = tmp_path / "made_up"
    cells = [study / write_cell(status="running", seed=seed, levels=3, last=1) for seed in range(3)]
    made: list[str] = []
    steps = iter([lambda: end(cells[0]), lambda: None, lambda: end(cells[1], "failed"), lambda: end(cells[2])])
    watching.watch(
        [study],
        lambda: made.append("".join(json.loads((cell / "status.json").read_text())["status"][0] for cell in cells)),
        wait=lambda _: next(steps)(),
    )
    assert made == ["rrr", "drr", "dfr", "dfd"]


def test_a_study_that_has_ended_is_made_once(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(levels=1)
    made: list[int] = []
    watching.watch([tmp_path / "made_up"], lambda: made.append(1), wait=pytest.fail)
    assert made == [1]
    with pytest.raises(AnalysisError, match="no such folder"):
        watching.watch([tmp_path / "gone"], lambda: None)


def test_the_command_draws_while_cells_finish_and_ctrl_c_leaves_it(
    write_cell: Callable[..., str], tmp_path: Path
) -> None:
    study = tmp_path / "made_up"
    for seed in range(2):
        write_cell(status="running", seed=seed, levels=1, epochs=1, last=0)
    command = [sys.executable, "-m", "multirun_analysis", str(study), "--figures", "none", "--report", "--watch"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        assert run.stdout
        first = next(line for line in run.stdout if "report.html" in line)
        assert first.startswith("  written")
        end(next(study.glob("[0-9a-f]" * 16)))
        assert "1 done, 1 running" in next(line for line in run.stdout if "2 cells" in line)
        assert next(line for line in run.stdout if "report.html" in line).startswith("  written")
        time.sleep(0.2)  # into the wait; Ctrl-C at any other moment ends it as well
        os.kill(run.pid, signal.SIGINT)
        rest, _ = run.communicate(timeout=60)
    finally:
        run.kill()
    assert (run.returncode, rest) == (0, "\nno longer watching; what was written stays\n")
