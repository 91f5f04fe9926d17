import collections
import math

import pytest
import torch

from ltsweep.errors import UserError
from ltsweep.grid.cell import Cell, key
from ltsweep.run.hardware import find_devices
from ltsweep.run.packing import count, divided, pack, stack_id
from ltsweep.run.resume import stacks_of


@pytest.fixture(scope="module")
def make_cell(compose):
    from ltsweep.grid.cell import from_config

    bases = {}

    def make(*overrides, **values):
        if overrides not in bases:
            bases[overrides] = from_config(compose("dataset=digits", *overrides)).config
        config = dict(bases[overrides]) | {n: v for n, v in values.items() if n != "lr"}
        if "lr" in values:
            config["lr"] = {**config["lr"], "value": values["lr"]}
        return Cell(config, key(config))

    return make


def packed(cells, stack_size, workers):
    stacks = pack(cells, lambda cell: stack_size, workers)
    found = collections.Counter(cell.key for stack in stacks for cell in stack)
    assert found == collections.Counter(cell.key for cell in cells)  # every cell once
    assert all(len({cell.stack_key for cell in stack}) == 1 for stack in stacks)
    return stacks


@pytest.mark.parametrize(
    ("cells", "stack_size", "workers", "expected"),
    [
        (1, 8, 2, [1]),
        (9, 8, 1, [4, 5]),
        (9, 8, 2, [4, 5]),
        (17, 8, 2, [4, 4, 4, 5]),
        (18, 2, 2, [1, 1, *[2] * 8]),
        (3, 128, 1, [3]),
        (3, 128, 2, [1, 2]),
        (5, 1, 2, [1] * 5),
        (5, 4, 10**20, [1] * 5),
    ],
)
def test_stacks_are_as_few_as_fit_as_many_a_worker_and_evenly_filled(make_cell, cells, stack_size, workers, expected):
    stacks = packed([make_cell(seed=i) for i in range(cells)], stack_size, workers)
    assert sorted(map(len, stacks)) == expected


def test_a_given_size_alone_decides_the_stacks_whatever_the_workers(make_cell):
    cells = [make_cell(*o, seed=seed) for o in ((), ("batch_size=10",)) for seed in range(6)]
    statuses = {cell.key: {"status": "pending", "level": -1} for cell in cells}
    for size in range(1, 8):
        found = [stacks_of(cells, statuses, size, lambda _: pytest.fail("a size is given"), n) for n in range(1, 9)]
        assert all(stacks == found[0] for stacks in found)
        assert [stack.cells for stack in found[0]] == [
            part for alike in (cells[:6], cells[6:]) for part in divided(alike, math.ceil(6 / size))
        ]
        assert all(stack.packed == {"stack_size": size} for stack in found[0])
    assert [len(stack.cells) for stack in stacks_of(cells[:6], statuses, 2, len, 4)] == [2, 2, 2]


def test_the_arms_of_a_cell_count(make_cell):
    cells = [make_cell("method.controls=[reinit,random_mask]", "method.draws=2", seed=i) for i in range(7)]
    assert sorted(map(len, packed(cells, 15, 1))) == [2, 2, 3]  # five arms each
    assert sorted(map(len, packed(cells, 4, 1))) == [1] * 7  # arms of a cell stay together


def test_cells_of_one_rate_lie_together(make_cell):
    cells = [make_cell(seed=seed, lr=lr) for seed in range(4) for lr in (0.1, 0.01)]
    assert [[cell.config["lr"]["value"] for cell in stack] for stack in packed(cells, 4, 1)] == [[0.01] * 4, [0.1] * 4]


def test_cells_that_cannot_be_stacked_are_apart(make_cell):
    cells = [make_cell(*o, seed=s) for o in ((), ("optimizer=sgd",), ("batch_size=10",)) for s in (0, 1)]
    assert sorted(map(len, packed(cells, 8, 1))) == [2, 2, 2]


def test_no_cells_make_no_stacks():
    assert pack([], lambda cell: 8, 2) == []


def test_a_stack_is_named_by_its_cells_whatever_their_order(make_cell):
    cells = [make_cell(seed=i) for i in range(3)]
    assert stack_id(cells) == stack_id(cells[::-1])
    assert len({stack_id(cells), stack_id(cells[:2]), stack_id(cells[1:])}) == 3
    assert len(stack_id(cells)) == 16


def test_a_count_is_auto_or_a_whole_number_from_one():
    assert count("auto", "workers", 3) == 3
    assert count(5, "workers", 3) == 5
    for value in (0, -1, 1.5, True, "many", None, 1025, 10**400):
        text = r"^workers=.* out of range: workers is auto, or a whole number from 1 to 1,024$"
        with pytest.raises(UserError, match=text):
            count(value, "workers", 3)


def test_devices_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_devices("cpu") == find_devices("auto") == [torch.device("cpu")]
    for name in ("cuda", "cuda:0"):
        with pytest.raises(UserError, match=rf"^device={name}: this machine has no CUDA device"):
            find_devices(name)


def test_devices_with_two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    both = [torch.device("cuda", 0), torch.device("cuda", 1)]
    assert find_devices("auto") == find_devices("cuda") == both
    assert find_devices("cuda:1") == both[1:]
    assert find_devices("cpu") == [torch.device("cpu")]
    with pytest.raises(UserError, match=r"^device=cuda:2: this machine has 2 CUDA devices"):
        find_devices("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:-1", "mps", "", "0"])
def test_an_unknown_device_is_one_line(name):
    with pytest.raises(UserError, match=rf"^device={name}"):
        find_devices(name)
