"""Studies as records alone: nothing is trained, and no Slurm is asked."""

import pytest

from ltsweep.cluster import ledger, slurm
from ltsweep.grid import cell
from ltsweep.grid.cell import Cell
from ltsweep.grid.key import key
from ltsweep.store.folder import CellFolder


@pytest.fixture(scope="session")
def config(compose):
    """Return the config of a cell that needs no download."""
    cell.register_resolver()
    return cell.from_config(compose("dataset=digits", "levels=3")).config


@pytest.fixture
def recorded(tmp_path, config):
    """Return a function that writes a failed cell, with changes to its config, under its own key."""

    def write(**changes):
        one = {**config, **changes}
        made = Cell(one, key(one))
        folder = CellFolder(tmp_path / "s", made.key)
        folder.plan(made)
        folder.set_status("failed", level=0, error="task 7 cancelled (scancel)")
        return made

    return write


@pytest.fixture
def no_slurm(monkeypatch):
    """Have no Slurm, and fail a test that runs a command of it."""

    def run(*command, given=""):
        raise AssertionError(f"runs {command}")

    monkeypatch.setattr(slurm, "cluster", lambda: None)
    monkeypatch.setattr(slurm, "_run", run)


@pytest.fixture
def submitted(tmp_path):
    """Return a function that notes a submission of keys as the task 7, with options and settings."""

    def note(keys, options=None, settings=None):
        ledger.make_folder(tmp_path / "s")
        ledger.add(tmp_path / "s", "here", {}, options or {}, settings or {}, {"7": list(keys)})

    return note
