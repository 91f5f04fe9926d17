"""What is promised: the same bits from the same stacks, the same draws and close weights from others."""

from dataclasses import dataclass

import pyarrow.parquet as pq
import pytest
import torch

from ltsweep.cluster.local import compute
from ltsweep.engine.stack import Tensors
from ltsweep.grid.cell import from_config
from ltsweep.lottery.loop import run_levels
from ltsweep.lottery.program import Checkpoint, LevelDone
from ltsweep.run.build import load_data, member_of, program_of
from ltsweep.run.prepare import prepare
from ltsweep.run.settings import Settings
from ltsweep.store.records import CellRecords

STEPS = 100


@dataclass
class Trained:
    """A cell's dense level: what it began with, its weights after 100 steps, and the masks of its next level."""

    initial: Tensors
    weights: Tensors
    next_masks: Tensors


@pytest.fixture(scope="module")
def cells(compose):
    """Return eight cells of the real network, at the learning rate of the papers."""
    # A step more, since there is no checkpoint after the last one.
    shared = ("dataset=digits", f"iterations={STEPS + 1}", "levels=1", "lr.value=1.2e-3")
    inits = ("xavier_u", "kaiming_n")
    return [from_config(compose(*shared, f"init={init}", f"seed={seed}")) for init in inits for seed in range(4)]


@pytest.fixture(scope="module")
def trained(cells, tmp_path_factory):
    """Return a function of the stack size that trains all cells and returns key -> Trained."""
    (data,) = load_data(cells, tmp_path_factory.mktemp("data")).values()

    def train(size):
        found = {}
        for first in range(0, len(cells), size):
            program = program_of(cells[first], data, torch.device("cpu"), checkpoint_every=0.0)
            members = {cell.key: member_of(cell, program) for cell in cells[first : first + size]}
            for event in run_levels(program, list(members.values()), 0):
                if isinstance(event, Checkpoint) and (event.level, event.step) == (0, STEPS):
                    weights = {name: value.clone() for name, value in event.tensors.items() if "params/" in name}
                    for c, key in enumerate(event.tables):
                        own = {name: value[c] for name, value in weights.items()}
                        found[key] = Trained(members[key].initial, own, {})
                if isinstance(event, LevelDone):
                    found[event.key].next_masks = event.next_masks
                    if event.key == list(found)[-1]:
                        break
        assert len(found) == len(cells)
        return found

    return train


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(other[name], value) for name, value in one.items())


def test_the_same_stacks_give_the_same_bits(trained):
    one, again = trained(4), trained(4)
    for key, cell in one.items():
        assert equal(cell.weights, again[key].weights)
        assert equal(cell.next_masks, again[key].next_masks)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("model", ["lenet_300_100", "lenet5"])
def test_the_same_stacks_give_the_same_bits_on_a_gpu(compose, tmp_path, model):
    shared = ("dataset=digits", f"model={model}", "iterations=60", "levels=2")
    cells = [from_config(compose(*shared, f"seed={seed}")) for seed in range(8)]
    for study in "ab":
        compute(prepare(cells, Settings(tmp_path / study, tmp_path, "cuda:0")))
    for cell in cells:
        one, again = (pq.read_table(tmp_path / study / cell.key / "evaluations.parquet") for study in "ab")
        assert one.drop_columns("seconds").equals(again.drop_columns("seconds"))


def test_other_stacks_have_the_same_draws_and_weights_within_1e_4(trained):
    whole = trained(8)
    for size in (1, 2, 4):
        for key, cell in trained(size).items():
            assert equal(cell.initial, whole[key].initial)
            for name, value in cell.weights.items():
                assert float((whole[key].weights[name] - value).abs().max()) <= 1e-4


def test_the_record_says_which_stack_device_and_versions_gave_its_numbers(cells, tmp_path):
    settings = {"study": tmp_path, "data_dir": tmp_path, "device": "cpu", "workers": 1}
    compute(prepare(cells[:4], Settings(**settings, stack_size=3)))
    found = [CellRecords(tmp_path, cell.key).status() for cell in cells[:4]]
    assert [status["stack_cells"] for status in found] == [2] * 4
    assert len({status["stack"] for status in found}) == 2
    for status in found:
        assert status["device"] == "cpu"
        assert status["versions"]["torch"] == torch.__version__.partition("+")[0]
        assert {"cpu", "cores", "host", "products"} <= set(status["hardware"])
