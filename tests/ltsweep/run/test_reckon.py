"""What a dry run reckons, against numbers made by hand."""

import dataclasses

import pytest

from ltsweep.grid import cell
from ltsweep.run.reckon import reckon
from ltsweep.run.resume import Stack, new_stack
from ltsweep.schema import ticket_file
from ltsweep.store.folder import NOT_BEGUN

FILES = {"tickets/init.safetensors": [1000, 0, ""], "levels.parquet": [40, 0, ""]}


@pytest.fixture(scope="module")
def cells(compose):
    """Return four cells of three levels, whose levels 1 to 3 train three networks each: ten trainings a cell."""
    cell.register_resolver()
    controls = ("method.controls=[reinit,random_mask]", "dataset=digits", "levels=3")
    return [cell.from_config(compose(f"seed={seed}", *controls)) for seed in range(4)]


def record(level, seconds, status="running"):
    arms = {"ticket/0": level} | ({"reinit/0": level, "random_mask/0": level} if level > 0 else {})
    return {"status": status, "level": level, "seconds": seconds, "files": FILES, "arms": arms if level >= 0 else {}}


def test_seconds_are_those_of_like_cells_for_each_network_and_level_that_is_left(cells):
    statuses = {
        cells[0].key: record(3, 20.0, "done"),
        cells[1].key: record(1, 16.0),  # 4 of 10 trainings
        cells[2].key: dict(NOT_BEGUN),
        cells[3].key: record(-1, 0.0, "failed"),
    }
    records = [(one, statuses[one.key]) for one in cells]
    stacks = [new_stack([cells[1]], {}), new_stack(cells[2:], {})]
    found = reckon(cells, statuses, stacks, records)
    assert (found.cells, found.finished, found.begun, found.failed, found.todo) == (4, 1, 1, 1, 3)
    assert (found.stacks, found.unlike) == ((1, 2), 0)
    (like,) = found.likes.values()
    assert (like.cells, like.seconds) == (2, (20 / 10 + 16 / 4) / 2)  # the mean of both cells
    assert found.seconds == (6 * 3.0, 2 * 10 * 3.0)
    assert found.elapsed(1) == 78.0
    assert found.elapsed(2) == 60.0
    full = 1000 + (40 + 40 * 10 / 4) / 2  # beside its initial weights a cell has so much for each training
    assert like.size == full
    assert found.size == pytest.approx(full - 1040 + full + full - 1040)


def test_finished_cells_that_train_along_take_their_time(cells):
    statuses = {cells[0].key: record(3, 20.0, "done"), cells[1].key: record(0, 2.0)}
    stack = Stack("s", tuple(cells[:2]), tuple(sorted(one.key for one in cells[:2])), {}, frozenset({cells[0].key}))
    found = reckon(cells[:2], statuses, [stack], [(one, statuses[one.key]) for one in cells[:2]])
    assert (found.todo, found.stacks, found.seconds) == (1, (2,), (2 * 9 * 2.0,))


def test_other_cells_and_those_that_ended_early_say_nothing(cells):
    other = dataclasses.replace(cells[1], config={**cells[1].config, "batch_size": 7})
    records = [(other, record(3, 20.0, "done")), (cells[2], record(1, 9.0, "diverged")), (cells[3], dict(NOT_BEGUN))]
    found = reckon(cells[:1], {cells[0].key: NOT_BEGUN}, [new_stack(cells[:1], {})], records)
    assert (found.likes, found.unlike, found.seconds, found.size) == ({}, 1, (0.0,), 0)


def test_nothing_to_compute_takes_nothing(cells):
    found = reckon(cells[:1], {cells[0].key: record(3, 1.0, "done")}, [], [])
    assert (found.finished, found.todo, found.stacks, found.elapsed(2)) == (1, 0, (), 0.0)


def test_a_cell_that_grows_takes_what_it_lacks(cells):
    """Two more levels and another control, of a cell with seven trainings."""
    longer = dataclasses.replace(cells[0], config={**cells[0].config, "levels": 5})
    status = record(3, 14.0, "done") | {"arms": {"ticket/0": 3, "reinit/0": 3}}
    found = reckon([longer], {longer.key: status}, [new_stack([longer], {})], [(cells[0], status)])
    assert (found.finished, found.begun, found.todo, found.unlike) == (0, 1, 1, 0)
    assert found.seconds == (2.0 * (16 - 7),)


def test_masks_are_counted_by_levels_and_tables_by_trainings(cells):
    """A ticket of three levels has four masks, the last to go on from; a control adds none, more levels one each."""
    masks = {ticket_file(level): [100, 0, ""] for level in range(1, 5)}
    status = record(3, 4.0, "done") | {"arms": {"ticket/0": 3}, "files": FILES | masks}
    for levels, controls, more in ((3, ["reinit"], 40 * 3 / 4), (5, [], 2 * 100 + 40 * 2 / 4)):
        config = {**cells[0].config, "levels": levels, "method": {**cells[0].config["method"], "controls": controls}}
        grown = dataclasses.replace(cells[0], config=config)
        found = reckon([grown], {grown.key: status}, [new_stack([grown], {})], [(cells[0], status)])
        assert found.size == pytest.approx(more)
