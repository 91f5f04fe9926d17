"""Measurements of finished cells: the numbers they would have given at once, and nothing lost on the way."""

import pyarrow.parquet as pq
import pytest

from ltsweep.cluster.local import compute
from ltsweep.grid.cell import from_config
from ltsweep.run.prepare import prepare
from ltsweep.run.settings import Settings, settings_from
from ltsweep.store import disk
from ltsweep.store.records import CellRecords

SMALL = ("dataset=digits", "iterations=4", "levels=2", "batch_size=30")


@pytest.fixture
def study(compose, tmp_path):
    """Return a function that runs two cells in a study, with overrides and measurements, and returns the cells."""

    def run(name, *overrides, measure=()):
        cells = [from_config(compose(*SMALL, *overrides, f"seed={seed}")) for seed in (0, 1)]
        chosen = settings_from(compose(*SMALL, f"measure=[{','.join(measure)}]"), tmp_path).measure
        settings = Settings(study=tmp_path / name, data_dir=tmp_path, device="cpu", workers=1, measure=chosen)
        statuses = compute(prepare(cells, settings))
        assert {status["status"] for status in statuses.values()} == {"done"}
        return cells

    return run


def readings(folder):
    return pq.read_table(folder / "readings.parquet").to_pandas()


@pytest.mark.parametrize(
    ("overrides", "measure"),
    [
        (["method.controls=[reinit,frozen]"], ["lengths", "gradients"]),
        (["method.rewind=2it"], ["lengths"]),
        (["method=edge_popup"], ["lengths"]),
        (["method.rewind=weights"], ["weights", "mantissa", "lengths"]),
    ],
)
def test_a_measurement_added_later_gives_what_it_would_have_given_at_once(study, tmp_path, overrides, measure, capsys):
    cells = study("at_once", *overrides, measure=measure)
    study("later", *overrides)
    written = {cell.key: (tmp_path / "later" / cell.key / "levels.parquet").read_bytes() for cell in cells}
    assert not list((tmp_path / "later").glob("*/readings.parquet"))
    study("later", *overrides, measure=measure)
    assert f"measure={measure[0]}: 2 cells measured from what is on the disk" in capsys.readouterr().out
    for cell in cells:
        one, other = (readings(tmp_path / name / cell.key) for name in ("at_once", "later"))
        assert len(one) > 6
        assert one.equals(other)  # nan where it was nan
        assert (tmp_path / "later" / cell.key / "levels.parquet").read_bytes() == written[cell.key]
        assert CellRecords(tmp_path / "later", cell.key).status()["measured"] == measure
    study("later", *overrides, measure=measure)
    assert "measured from" not in capsys.readouterr().out


def test_what_was_not_kept_is_told_and_the_rest_is_measured(study, tmp_path, capsys):
    study("one")
    cells = study("one", measure=["lengths", "weights"])
    said = " ".join(capsys.readouterr().out.split())
    assert "measure=lengths: 2 cells measured from what is on the disk" in said
    assert "measure=weights: 2 cells had finished levels without it, and the weights that it looks at were not" in said
    assert {*readings(tmp_path / "one" / cells[0].key)["name"]} == {"length", "units", "length_variance"}
    assert CellRecords(tmp_path / "one", cells[0].key).status()["measured"] == ["lengths"]


def test_a_kill_before_the_status_leaves_a_cell_that_is_measured_again(study, tmp_path, monkeypatch):
    cells = study("whole", measure=["lengths"])
    study("killed")
    path, write = tmp_path / "killed" / cells[1].key / "readings.parquet", disk.write

    def killed(name, *content):
        noted = write(name, *content)
        if name == path:
            raise KeyboardInterrupt
        return noted

    with monkeypatch.context() as patched:
        patched.setattr(disk, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            study("killed", measure=["lengths"])
    assert path.exists()
    study("killed", measure=["lengths"])
    for cell in cells:
        folder = tmp_path / "killed" / cell.key
        assert readings(folder).equals(readings(tmp_path / "whole" / cell.key))
        assert "computed again" not in (folder / "cell.log").read_text()
        assert CellRecords(tmp_path / "killed", cell.key).status()["status"] == "done"


def test_our_own_error_is_in_the_log_and_loses_nothing(study, tmp_path, monkeypatch, capsys):
    cells = study("one")
    monkeypatch.setattr("ltsweep.measure.lengths.Lengths.__call__", lambda *_: 1 / 0)
    study("one", measure=["lengths"])
    assert "measure=lengths: ZeroDivisionError: division by zero; see the cells' logs" in (
        " ".join(capsys.readouterr().out.split())
    )
    assert "Traceback" in (tmp_path / "one" / cells[0].key / "cell.log").read_text()
    assert CellRecords(tmp_path / "one", cells[0].key).status()["status"] == "done"
