"""From the command to the report: the engine's own records, read, drawn, exported and put on a page."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from ltsweep.schema import RANDOM_MASK, REINIT, TABLES, TICKET
from ltsweep.store import tables
from ltsweep.store.tables import SCHEMAS
from multirun_analysis import figures
from multirun_analysis.__main__ import main
from multirun_analysis.load import load

pytestmark = pytest.mark.slow

# Two inits and two seeds, one worker: four cells of three levels.
GRID = "init=xavier_u,kaiming_n seed=0,1 dataset=digits device=cpu levels=2 iterations=20 workers=1 study=s"
CONTROLS = ("method.controls=[reinit,random_mask]", "measure=[weights]")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a study of four cells, run by the real command."""
    folder = tmp_path_factory.mktemp("end_to_end")
    run = subprocess.run(
        [sys.executable, "-m", "ltsweep", "-m", *GRID.split(), *CONTROLS],
        cwd=folder,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return folder / "multirun" / "s"


def test_the_engines_records_are_read_without_a_cast(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_with_columns", lambda table, schema: table)
    loaded = load(study)
    assert loaded.cells[["status", "reason", "level"]].drop_duplicates().to_numpy().tolist() == [["done", "", 2]]
    for file in TABLES:
        schemas = [pq.read_schema(path) for path in study.glob(f"*/{file}")]
        assert len(schemas) == 4
        assert all(schema.equals(SCHEMAS[file]) for schema in schemas)
        assert all(schema.names == list(TABLES[file]) for schema in schemas)


def test_the_tables_hold_what_was_trained(study: Path) -> None:
    loaded = load(study)
    assert set(loaded.levels["arm"]) == {TICKET, REINIT, RANDOM_MASK}
    assert loaded.levels.groupby("arm", observed=True).size().to_dict() == {TICKET: 12, REINIT: 8, RANDOM_MASK: 8}
    assert loaded.levels["iterations_trained"].eq(20).all()
    assert loaded.levels["best_iteration"].dtype == np.float64
    # Eleven readings and 16 quantiles of three layers, before and after each level; a control starts at level 1.
    assert loaded.readings.groupby("arm", observed=True).size().to_dict() == {
        TICKET: 12 * 162,
        REINIT: 8 * 162,
        RANDOM_MASK: 8 * 162,
    }
    moved = loaded.readings[loaded.readings["name"].eq("distance")]
    assert (moved["value"].gt(0) == moved["iteration"].gt(0)).all()
    last = loaded.evaluations.sort_values("iteration").drop_duplicates(["key", "arm", "draw", "level"], keep="last")
    both = loaded.levels.merge(last, on=["key", "arm", "draw", "level"])
    assert both["final_test_accuracy"].tolist() == both["test_accuracy"].tolist()


def test_every_figure_is_drawn_or_says_why_not(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--figures", ",".join(figures.names()), "--style", "screen", "--remaining", "1,0.8,0.6"]
    assert main([str(study), *asked, "--export", "csv,parquet", "--report", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "4 cells: 4 done" in said
    lines = {line.split()[1].rstrip(":"): line.split()[0] for line in said.splitlines()[1:]}
    files = {Path(name).name: state for name, state in lines.items()}
    for name in figures.names():
        assert files.get(f"{name}.png", files.get(name)) in ("written", "nothing"), said
        assert (tmp_path / f"{name}.png").exists() == (files.get(f"{name}.png") == "written")
    # One config value varies, which is no width, and a heat map needs two; all else has what it needs.
    assert {name for name in figures.names() if files.get(name) == "nothing"} == {
        "accuracy_vs_width",
        "connectivity",
        "epochs_by_length",
        "epochs_to_score",
        "heat_map",
        "length_scales",
        "runs_test",
    }
    assert len(pd.read_parquet(tmp_path / "levels.parquet")) == len(pd.read_csv(tmp_path / "levels.csv")) == 28
    assert len(pd.read_parquet(tmp_path / "readings.parquet")) == len(pd.read_csv(tmp_path / "readings.csv")) == 4536
    page = (tmp_path / "report.html").read_text()
    assert all(key in page for key in load(study).cells["key"])
    assert "python -m ltsweep" in page


def test_the_same_command_again_writes_nothing(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [str(study), "--figures", "none", "--export", "parquet", "--out", str(tmp_path)]
    for state in ("written", "up to date"):
        assert main(asked) == 0
        assert capsys.readouterr().out.count(f"  {state}  ") == 3
