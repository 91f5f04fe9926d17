"""Weights that a method keeps, through a kill inside the level that keeps them: they are in the checkpoint too."""

import pyarrow.parquet as pq
import pytest
import torch

from ltsweep.cluster.local import compute
from ltsweep.grid.cell import from_config
from ltsweep.run import stack_run
from ltsweep.run.prepare import prepare
from ltsweep.run.settings import Settings
from ltsweep.store.records import CellRecords

SMALL = ("dataset=digits", "iterations=8", "evaluate_every=4", "batch_size=30", "levels=2")


@pytest.fixture
def run(tmp_path):
    """Return a function that computes cells into a study of that name, a checkpoint after every step."""

    def computed(cells, study):
        settings = Settings(tmp_path / study, tmp_path, device="cpu", workers=1, stack_size=1, checkpoint_every=0)
        compute(prepare(cells, settings))
        return tmp_path / study

    return computed


@pytest.fixture
def killed_after(monkeypatch):
    """Return a function that makes the checkpoint after a step of a level the last thing a command does."""
    save = stack_run.save_checkpoint

    def kill(level, step):
        def save_and_stop(study, stack, facts, tensors):
            save(study, stack, facts, tensors)
            if (facts["level"], facts["step"]) == (level, step):
                monkeypatch.setattr(stack_run, "save_checkpoint", save)
                raise KeyboardInterrupt

        monkeypatch.setattr(stack_run, "save_checkpoint", save_and_stop)

    return kill


def held(study, cell):
    """Return the rows of a cell but their times, its masks, and all weights that it keeps."""
    records = CellRecords(study, cell.key)
    rows = [{**row, "seconds": 0} for row in pq.read_table(records.folder / "evaluations.parquet").to_pylist()]
    names = sorted(name for name in records.status()["files"] if "weights_" in name)
    at = [tuple(map(int, name.removesuffix(".safetensors").split("_")[1:])) for name in names]
    tensors = [records.masks(level) or {} for level in (1, 2, 3)] + [records.weights(*one) for one in at]
    return rows, names, tensors


def assert_same(one, other):
    assert one[:2] == other[:2]
    assert one[1]
    for here, there in zip(one[2], other[2], strict=True):
        assert here.keys() == there.keys()
        assert all(torch.equal(here[name], value) for name, value in there.items())


@pytest.mark.parametrize("step", [2, 3, 5])
@pytest.mark.parametrize("overrides", [("method.rewind=3it",), ("method.rewind=lr",), ("method=one_shot",)])
def test_killed_before_at_or_after_the_step_that_is_kept(compose, run, killed_after, overrides, step):
    cell = from_config(compose(*SMALL, *overrides))
    whole = held(run([cell], "whole"), cell)
    killed_after(0, step)
    with pytest.raises(KeyboardInterrupt):
        run([cell], "killed")
    assert_same(held(run([cell], "killed"), cell), whole)


@pytest.mark.parametrize(("level", "step"), [(1, 3), (2, 1)])
def test_killed_in_a_level_that_goes_on_from_the_scores_of_the_one_before(compose, run, killed_after, level, step):
    """Beside a control, whose checkpoint has scores too; the grown cell is the one that was asked for whole."""
    fields = (*SMALL, "method=edge_popup", "method.begin=before", "method.controls=[twin]")
    cell, shorter = from_config(compose(*fields)), from_config(compose(*fields, "levels=1"))
    whole = held(run([cell], "whole"), cell)
    assert whole[1] == ["tickets/weights_01_8.safetensors", "tickets/weights_02_8.safetensors"]
    assert [set(masks) for masks in whole[2][:3]] == [set(whole[2][0]), set(whole[2][0]), set()]
    killed_after(level, step)
    with pytest.raises(KeyboardInterrupt):
        run([cell], "killed")
    assert_same(held(run([cell], "killed"), cell), whole)
    if level == 2:
        run([shorter], "grown")
        assert_same(held(run([cell], "grown"), cell), whole)


def test_killed_while_a_cell_keeps_weights_for_others(compose, run, killed_after):
    cells = [from_config(compose(*SMALL, one)) for one in ("method=imp", "method.rewind=3it", "method.rewind=5it")]
    whole = run(cells, "whole")
    killed_after(0, 4)  # between the two steps that the others ask for
    with pytest.raises(KeyboardInterrupt):
        run(cells, "killed")
    again = run(cells, "killed")
    for cell in cells:
        assert_same(held(again, cell), held(whole, cell))
    assert sum("dense_of" in CellRecords(again, cell.key).status() for cell in cells) == 2
