"""Which stack a cell goes on with: one pure function over statuses."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltsweep.grid.cell import from_config
from ltsweep.run.packing import stack_id
from ltsweep.run.resume import begun_stacks, stacks_of
from ltsweep.schema import FINISHED
from ltsweep.store.checkpoints import stack_name

LEVELS = 4


@pytest.fixture(scope="module")
def cells(compose):
    return [from_config(compose("dataset=digits", f"levels={LEVELS}", f"seed={seed}")) for seed in range(6)]


@pytest.fixture(scope="module")
def case(cells):
    """Return a function: (status, level, places of the cells its stack began with) a cell -> key -> status."""

    def make(*given, noted=True):
        found = {}
        for cell, (status, level, places) in zip(cells, given, strict=False):
            found[cell.key] = {"status": status, "level": level, "arms": arms_to(level)}
            if places:
                members = [cells[i] for i in places]
                found[cell.key]["stack"] = stack_id(members)
                if noted:
                    found[cell.key]["stack_keys"] = sorted(one.key for one in members)
        return found

    return make


def split(cells, found, among=None):
    """Return (places of a stack's cells, of its ballast, whether it keeps its name) a stack, and the other cells."""
    place = {cell.key: i for i, cell in enumerate(cells)}
    names = {status.get("stack") for status in found.values()}
    begun, rest = begun_stacks([cell for cell in cells if cell.key in found] if among is None else among, found)
    for stack in begun:
        assert stack.name == stack_name(stack.keys)
        assert stack.facts == {
            "stack": stack.name, "stack_cells": len(stack.keys), "stack_keys": list(stack.keys), "packed": stack.packed
        }  # fmt: skip
    places = [([place[c.key] for c in s.cells], sorted(place[k] for k in s.ballast), s.name in names) for s in begun]
    return places, [place[cell.key] for cell in rest]


def arms_to(level):
    """Return what a status says of a cell whose ticket has a level."""
    return {"ticket/0": level} if level >= 0 else {}


ALL = (0, 1, 2, 3)


def test_cells_that_were_never_begun_are_packed(cells, case):
    found = case(*[("pending", -1, ())] * 4)
    assert split(cells, found) == ([], [0, 1, 2, 3])
    stacks = stacks_of(cells[:4], found, 2, lambda _: pytest.fail("a size is given"), 1)
    assert [stack.cells for stack in stacks] == [tuple(cells[:2]), tuple(cells[2:4])]
    assert [stack.name for stack in stacks] == [stack_id(cells[:2]), stack_id(cells[2:4])]
    assert [stack.packed for stack in stacks] == [{"stack_size": 2}] * 2


def test_what_decided_an_automatic_size_is_kept(cells, case):
    stacks = stacks_of(cells[:4], case(*[("pending", -1, ())] * 4), 0, lambda _: 3, 2)
    assert [len(stack.cells) for stack in stacks] == [2, 2]
    assert [stack.packed for stack in stacks] == [{"stack_size": "auto", "workers": 2, "largest": 3}] * 2


@pytest.mark.parametrize("noted", [True, False])
def test_a_stack_keeps_all_its_cells_also_those_that_are_past_its_level(cells, case, noted):
    a, b = (0, 1, 2), (3,)
    found = case(("running", 1, a), ("running", 0, a), ("done", 4, a), ("running", 2, b), noted=noted)
    assert split(cells, found) == ([([0, 1, 2], [2], True), ([3], [], True)], [])


def test_a_cell_that_was_finished_elsewhere_is_ballast(cells, case):
    found = case(("done", 4, (0,)), *[("running", 1, ALL)] * 3)
    assert split(cells, found) == ([([0, 1, 2, 3], [0], True)], [])
    found = case(("diverged", 2, (0,)), *[("running", 1, ALL)] * 3)
    assert split(cells, found) == ([([0, 1, 2, 3], [0], True)], [])


@pytest.mark.parametrize("noted", [True, False])
def test_a_cell_that_left_before_the_level_is_not_in_the_stack(cells, case, noted):
    """It diverged at a level that the others have behind them."""
    found = case(
        ("diverged", 0, ALL), ("running", 1, ALL), ("running", 1, ALL), ("failed", 2, ALL), noted=noted
    )  # fmt: skip
    assert split(cells, found) == ([([1, 2, 3], [], True)], [])


def test_a_cell_that_left_need_not_be_among_the_cells(cells, case):
    found = case(("diverged", 0, ALL), *[("running", 1, ALL)] * 3)
    assert split(cells, found, cells[1:4]) == ([([1, 2, 3], [], True)], [])
    alone = {key: status for key, status in found.items() if key != cells[0].key}  # its status is not known
    assert split(cells, alone) == ([([1, 2, 3], [], False)], [])


def test_finished_cells_begin_nothing(cells, case):
    found = case(("done", 4, (0, 1)), ("done", 4, (0, 1)), ("diverged", 1, (2,)), ("pending", -1, ()))
    assert split(cells, found) == ([], [3])


@pytest.mark.parametrize("noted", [True, False])
def test_a_subset_leaves_the_stack(cells, case, noted):
    found = case(*[("running", 1, ALL)] * 4, noted=noted)
    assert split(cells, found, cells[:1]) == ([([0], [], False)], [])
    assert split(cells, found, cells[1:4]) == ([([1, 2, 3], [], False)], [])
    (stack,), _ = begun_stacks(cells[:1], found)
    assert stack.packed == {"left": stack_id(cells[:4])}


def test_a_stack_whose_member_is_unfinished_in_another_is_left(cells, case):
    found = case(("running", 2, (0,)), *[("running", 1, ALL)] * 3)
    assert split(cells, found) == ([([0], [], True), ([1, 2, 3], [], False)], [])
    found = case(("pending", -1, ()), *[("running", 1, ALL)] * 3)  # its files were broken
    assert split(cells, found) == ([([1, 2, 3], [], False)], [0])


def test_a_cell_is_ballast_of_one_stack(cells, case):
    found = case(("done", 4, (0,)), ("running", 1, (0, 1)), ("running", 1, (0, 2)))
    assert split(cells, found) == ([([0, 1], [0], True), ([2], [], False)], [])


def test_a_record_that_names_the_stack_of_others_leaves_it_whole(cells, case):
    found = case(("running", 1, (0,)), ("running", 1, (1, 2)), ("running", 1, (1, 2)))
    for level in (-1, 0, 1):
        found[cells[0].key] |= {"stack": found[cells[1].key]["stack"], "level": level, "arms": arms_to(level)}
        assert split(cells, found) == ([([1, 2], [], True)], [0])


def test_keys_that_do_not_give_the_name_are_not_believed(cells, case):
    found = case(*[("running", 1, ALL)] * 4)
    for status in found.values():
        status["stack"] = "0" * 16
    assert split(cells, found) == ([([0, 1, 2, 3], [], False)], [])


def test_a_stack_that_was_only_planned_is_kept_when_it_is_whole_and_packed_anew_when_not(cells, case):
    found = case(*[("pending", -1, (0, 1))] * 2, *[("pending", -1, ())] * 2)
    assert split(cells, found) == ([([0, 1], [], True)], [2, 3])
    assert split(cells, found, cells[:1]) == ([], [0])


def test_the_statuses_are_not_changed(cells, case):
    found = case(("running", 1, ALL), ("running", 0, ALL), ("done", 4, (2,)), ("pending", -1, ()))
    before = {key: dict(status) for key, status in found.items()}
    stacks_of(cells[:4], found, 8, lambda _: 8, 1)
    assert found == before


def run(stack, found, draw):
    """Let a stack be killed at a random moment: train some levels, in which cells diverge, save one for some cells."""
    for cell in stack.writers:
        found[cell.key] |= stack.facts | {"status": draw(st.sampled_from(["pending", "running", "failed"]))}
    level = min(found[cell.key]["level"] for cell in stack.writers) + 1
    killed = draw(st.integers(level, LEVELS + 1))
    for now in range(level, min(killed, LEVELS) + 1):
        for cell in stack.writers:
            status = found[cell.key]
            ends_here = now < killed or draw(st.booleans())  # at the level of the kill some cells are saved
            if status["status"] not in FINISHED and status["level"] == now - 1 and ends_here:
                diverges = draw(st.integers(0, 9)) == 0
                how = "diverged" if diverges else "done" if now == LEVELS else "running"
                found[cell.key] = status | {"status": how, "level": now, "arms": arms_to(now)}


@settings(max_examples=300)
@given(data=st.data())
def test_whatever_commands_are_killed_every_cell_is_written_by_one_stack_that_is_what_it_says(cells, data):
    found = {cell.key: {"status": "pending", "level": -1} for cell in cells}
    known: dict[str, set[str]] = {}  # name of a stack -> keys of the cells with which it began
    for _ in range(data.draw(st.integers(1, 5))):
        asked = data.draw(st.lists(st.sampled_from(cells), min_size=1, unique_by=lambda cell: cell.key))
        asked = [cell for cell in cells if cell in asked]
        before = {key: dict(status) for key, status in found.items()}
        stacks = stacks_of(asked, found, data.draw(st.integers(1, 6)), lambda _: pytest.fail("not auto"), 1)

        todo = [cell.key for cell in asked if before[cell.key]["status"] not in FINISHED]
        assert sorted(cell.key for stack in stacks for cell in stack.writers) == sorted(todo)
        ballast = [key for stack in stacks for key in stack.ballast]
        assert len(set(ballast)) == len(ballast)
        assert all(before[key]["status"] in FINISHED for key in ballast)
        for stack in stacks:
            assert stack.name == stack_name(stack.keys)
            began = known.setdefault(stack.name, set(stack.keys))
            assert began == set(stack.keys)
            resumes = min(before[cell.key]["level"] for cell in stack.writers) + 1
            left = {key for key in began if before[key]["status"] == "diverged" and before[key]["level"] < resumes}
            assert {cell.key for cell in stack.cells} == began - left
            run(stack, found, data.draw)
        for key, status in found.items():  # what is finished stays as it is, and nobody goes back
            assert status == before[key] if key not in todo else status["level"] >= before[key]["level"]
        if data.draw(st.booleans()):  # a cell whose files were broken begins again
            found[data.draw(st.sampled_from(cells)).key] = {"status": "pending", "level": -1}


def test_a_whole_grid_again_and_again_is_the_same_stacks(cells, case):
    """Killed between any two saves of a level, with any of the cells finished elsewhere meanwhile."""
    for saved, elsewhere in itertools.product(range(5), range(4)):
        one = [("done", LEVELS, (i,)) if i < elsewhere else ("running", 1 + (i < saved), ALL) for i in ALL]
        assert split(cells, case(*one)) == ([([0, 1, 2, 3], list(range(elsewhere)), True)], [])
