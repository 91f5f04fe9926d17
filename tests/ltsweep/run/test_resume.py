"""Which stack a cell goes on with: one pure function over statuses."""

import pytest

from ltsweep.grid.cell import from_config
from ltsweep.run.packing import stack_id
from ltsweep.run.resume import begun_stacks, stacks_of


@pytest.fixture(scope="module")
def cells(compose):
    return [from_config(compose("dataset=digits", "levels=4", f"seed={seed}")) for seed in range(4)]


def statuses(cells, *given):
    """Return key -> status, level and stack; None for a cell that has no stack."""
    found = {}
    for cell, (status, level, stack) in zip(cells, given, strict=True):
        found[cell.key] = {"status": status, "level": level} | ({"stack": stack} if stack else {})
    return found


def split(cells, found):
    begun, rest = begun_stacks(cells, found)
    place = {cell.key: i for i, cell in enumerate(cells)}
    return [(s.name, [place[c.key] for c in s.cells]) for s in begun], [place[c.key] for c in rest]


def test_cells_that_were_never_begun_are_packed(cells):
    found = statuses(cells, *[("pending", -1, None)] * 4)
    assert split(cells, found) == ([], [0, 1, 2, 3])
    stacks = stacks_of(cells, found, lambda cell: 2, 1)
    assert [stack.cells for stack in stacks] == [tuple(cells[:2]), tuple(cells[2:])]
    assert [stack.name for stack in stacks] == [stack_id(cells[:2]), stack_id(cells[2:])]


def test_a_stack_keeps_all_its_cells_also_those_that_are_past_its_level(cells):
    found = statuses(cells, ("running", 1, "a"), ("running", 0, "a"), ("done", 4, "a"), ("running", 2, "b"))
    assert split(cells, found) == ([("a", [0, 1, 2]), ("b", [3])], [])


def test_a_cell_that_left_before_the_level_is_not_in_the_stack(cells):
    """It diverged at a level that the others have behind them."""
    found = statuses(cells, ("diverged", 0, "a"), ("running", 1, "a"), ("running", 1, "a"), ("failed", 2, "a"))
    assert split(cells, found) == ([("a", [1, 2, 3])], [])


def test_finished_cells_begin_nothing(cells):
    found = statuses(cells, ("done", 4, "a"), ("done", 4, "a"), ("diverged", 1, "b"), ("pending", -1, None))
    assert split(cells, found) == ([], [3])


def test_a_stack_that_was_only_planned_is_kept_when_it_is_whole_and_packed_anew_when_not(cells):
    name = stack_id(cells[:2])
    found = statuses(cells, ("pending", -1, name), ("pending", -1, name), *[("pending", -1, None)] * 2)
    assert split(cells, found) == ([(name, [0, 1])], [2, 3])
    assert split(cells[:1], found) == ([], [0])


def test_the_statuses_are_not_changed(cells):
    found = statuses(cells, ("running", 1, "a"), ("running", 0, "a"), ("done", 4, "a"), ("pending", -1, None))
    before = {key: dict(status) for key, status in found.items()}
    stacks_of(cells, found, lambda cell: 8, 1)
    assert found == before
