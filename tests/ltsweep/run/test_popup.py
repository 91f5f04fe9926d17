"""A study of edge-popup on the disk: a found network is a mask file and a seed."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from ltsweep.cluster.local import compute
from ltsweep.command import register_resolvers
from ltsweep.errors import UserError
from ltsweep.export.opened import open_ticket
from ltsweep.export.rebuild import model_of, redrawn
from ltsweep.grid.cell import from_config
from ltsweep.run.build import load_data
from ltsweep.run.prepare import prepare
from ltsweep.run.settings import Settings
from ltsweep.store.records import CellRecords

SMALL = (
    "dataset=digits", "model=mlp", "model.hidden=[24,12]", "iterations=12", "evaluate_every=6", "batch_size=30",
    "prune_rate=uniform", "prune_rate.value=0.5", "levels=2", "lr.value=0.01", "init=signed_constant",
    "method=edge_popup",
)  # fmt: skip
CHOICES = [(), ("seed=1",), ("method.scale=true", "init=kaiming_n"), ("method.scope=global", "prune_rate=but_last")]


@pytest.fixture(scope="module")
def cells(compose):
    register_resolvers()
    return [from_config(compose(*SMALL, *one)) for one in CHOICES]


@pytest.fixture(scope="module")
def study(cells, tmp_path_factory):
    """Return the folder of a study of four cells, in stacks of two."""
    folder = tmp_path_factory.mktemp("popup")
    done = compute(prepare(cells, Settings(folder / "found", folder, device="cpu", workers=1, stack_size=2)))
    assert {status["status"] for status in done.values()} == {"done"}
    return folder / "found"


def rows_of(study, cell, file):
    return pq.read_table(study / cell.key / f"{file}.parquet").to_pylist()


@pytest.mark.parametrize("number", range(len(CHOICES)))
def test_a_mask_file_and_a_seed_are_the_network_that_was_scored(study, cells, number):
    """Its weights drawn again from the seed, under the mask of the level's file, have the recorded test accuracy."""
    cell = cells[number]
    data = next(iter(load_data([cell], study).values()))
    for row in rows_of(study, cell, "levels")[1:]:
        ticket = open_ticket(f"{study / cell.key}@{row['level']}")
        model = model_of(ticket)
        weights = redrawn(ticket, model)
        for name, mask in ticket.masks.items():
            used = torch.from_numpy(mask) * weights[name]
            weights[name] = used * (mask.size / mask.sum()) ** 0.5 if cell.config["method"]["scale"] else used
        model.load_state_dict(weights)
        with torch.no_grad():
            right = model(data.inputs(data.test_x)).argmax(1) == data.test_y
        assert right.double().mean() == pytest.approx(row["final_test_accuracy"], abs=1e-9)
        remaining = [int(mask.sum()) for mask in ticket.masks.values()]
        assert remaining == row["layer_remaining"]
        left = 0.5 ** row["level"]
        if cell.config["method"]["scope"] == "layerwise":
            assert remaining == [1536 * left, 288 * left, 120 * left]
        else:
            assert (sum(remaining), remaining[2]) == ((1536 + 288) * left + 120, 120)


def test_each_level_leaves_its_own_mask_and_nothing_of_the_next(study, cells):
    for cell, choice in zip(cells, CHOICES, strict=True):
        names = {path.name.removesuffix(".safetensors") for path in (study / cell.key / "tickets").iterdir()}
        names -= {"weights_00_12"}  # of the dense network that two of the cells share
        kept = {"weights_01_12", "weights_02_12"} if "method.scale=true" in choice else set()
        assert names == {"init", "level_01", "level_02"} | kept
        with pytest.raises(UserError, match=r"has no level 3; on record are levels 0 \(dense\) to 2$"):
            open_ticket(f"{study / cell.key}@3")
        assert all(mask.all() for mask in open_ticket(f"{study / cell.key}@0").masks.values())
    scaled = open_ticket(f"{study / cells[2].key}@1", "1_12")
    assert scaled.weights.keys() == scaled.initial.keys()  # without the scores, which are in the file too
    np.testing.assert_allclose(scaled.weights["fc1.weight"], 2**0.5 * scaled.initial["fc1.weight"], rtol=1e-6)


def test_the_dense_network_is_that_of_the_other_methods_and_shared(study, cells, compose):
    imp = from_config(compose(*SMALL[:-1], "method=imp"))
    both, two = study.parent / "both", (imp, cells[0])
    compute(prepare(two, Settings(both, study.parent, device="cpu", workers=1, stack_size=1)))
    assert sum("dense_of" in CellRecords(both, cell.key).status() for cell in two) == 1
    one, other = ([{**row, "seconds": 0} for row in rows_of(both, cell, "evaluations")] for cell in two)
    assert [row for row in one if not row["level"]] == [row for row in other if not row["level"]]


def test_a_broken_mask_is_found_and_its_cell_computed_again(study, cells, tmp_path):
    again = tmp_path / "again"
    run = Settings(again, tmp_path, device="cpu", workers=1, stack_size=1)
    compute(prepare(cells[:1], run))
    mask = again / cells[0].key / "tickets/level_01.safetensors"
    before = mask.read_bytes()
    mask.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    with pytest.raises(UserError, match="level_01"):
        open_ticket(f"{again / cells[0].key}@1")
    compute(prepare(cells[:1], run))
    assert mask.read_bytes() == before
    assert "tickets/level_01.safetensors" in json.loads((again / cells[0].key / "status.json").read_text())["files"]


def test_a_found_network_may_be_trained_elsewhere(study, cells, compose, monkeypatch, tmp_path):
    """As a ticket is: its weights drawn again, under its mask."""
    shutil.copytree(study, tmp_path / "multirun/found")
    monkeypatch.chdir(tmp_path)
    ticket = ("method=transfer", f"method.ticket=found/{cells[0].key}@2", "levels=1")
    here = from_config(compose(*SMALL[:-1], *ticket))
    compute(prepare([here], Settings(tmp_path / "multirun/target", tmp_path, device="cpu", workers=1, stack_size=1)))
    mine, theirs = CellRecords(tmp_path / "multirun/target", here.key), CellRecords(study, cells[0].key)
    assert all(torch.equal(mask, theirs.masks(2)[name]) for name, mask in mine.masks(1).items())
