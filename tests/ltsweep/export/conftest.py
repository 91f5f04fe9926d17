"""A finished cell of a small network, made without training: its records hold what the seed draws."""

import functools
import json
import shutil

import pytest
import torch

from ltsweep.grid import cell
from ltsweep.grid.cell import Cell
from ltsweep.grid.key import key
from ltsweep.run.build import initial_weights, make
from ltsweep.store.records import CellRecords

OVERRIDES = ("dataset=digits", "levels=1", "method.rewind=5it")


@pytest.fixture(scope="session")
def config(compose):
    """Return the config of a cell of lenet_300_100 on digits."""
    cell.register_resolver()
    return cell.from_config(compose(*OVERRIDES)).config


def record(study, config, model=None, initial=None):
    """Write the records of a cell whose one level is finished, and return its folder."""
    made = Cell(config, key(config))
    if initial is None:
        initial = initial_weights(config, model or make(config, "model"))
    records = CellRecords(study, made.key)
    records.plan(made)
    records.save_initial(initial)
    rng = torch.Generator().manual_seed(0)
    for level in (0, 1):
        masks = {
            name: (torch.rand(value.shape, generator=rng) < 0.5 / 4**level).float()
            for name, value in initial.items()
            if value.dim() > 1
        }
        kept = {5: {name: value + 1 for name, value in initial.items()}} if level == 0 else {}
        status = "done" if level else "running"
        records.save_level({"ticket/0": level}, status, None, evaluations=[], summaries=[], next_masks=masks, kept=kept)
    return records.folder


@pytest.fixture(scope="session")
def _recorded(config, tmp_path_factory):
    return record(tmp_path_factory.mktemp("recorded") / "s", config)


@pytest.fixture
def folder(_recorded, tmp_path):
    """Return the folder of a finished cell of lenet_300_100, in a study of its own."""
    shutil.copytree(_recorded, tmp_path / "s" / _recorded.name)
    return tmp_path / "s" / _recorded.name


@pytest.fixture
def record_cell(tmp_path):
    """Return a function that records a finished cell of another config."""
    return functools.partial(record, tmp_path / "s")


@pytest.fixture
def reseal():
    """Return a function that changes fields of a status.json, without its checksum, as older records."""

    def change(folder, **fields):
        path = folder / "status.json"
        status = json.loads(path.read_text()) | fields
        status.pop("sha256", None)
        path.write_text(json.dumps(status))

    return change
