"""The dense network that cells share: trained once, taken over with the same bits, and not if it is broken."""

import dataclasses
import itertools
import math

import pyarrow.parquet as pq
import pytest

from ltsweep.cluster.local import compute
from ltsweep.grid.cell import from_config
from ltsweep.lottery import loop
from ltsweep.run.dense import dense_key
from ltsweep.run.prepare import prepare
from ltsweep.run.settings import Settings
from ltsweep.run.study import planned_stacks
from ltsweep.store.records import CellRecords

SMALL = ("dataset=digits", "iterations=6", "evaluate_every=3", "batch_size=30", "levels=2")
METHODS = ("imp", "one_shot", "snip", "grasp", "random")


@pytest.fixture(scope="module")
def cell(compose):
    """Return a function of overrides: a cell of a small study."""
    return lambda *overrides: from_config(compose(*SMALL, *overrides))


@pytest.fixture
def settings(tmp_path):
    return Settings(tmp_path / "study", tmp_path, device="cpu", workers=1, stack_size=1)


@pytest.fixture
def trained(monkeypatch):
    """Return the list of (level, networks) that are trained from now on; `stop_at` in it makes that training a kill."""

    class Trained(list):
        stop_at = math.inf

    seen, train = Trained(), loop.train_level

    def watched(program, network, look, members, arms, *rest):
        if len(seen) == seen.stop_at:
            seen.stop_at = math.inf
            raise KeyboardInterrupt
        seen.append((look.level, len(members) * len(arms)))
        yield from train(program, network, look, members, arms, *rest)

    monkeypatch.setattr(loop, "train_level", watched)
    return seen


def run(cells, settings):
    return compute(prepare(cells, settings))


def rows_of(settings, cell):
    """Return all rows of a cell but their times, and its masks."""
    records = CellRecords(settings.study, cell.key)
    rows = pq.read_table(records.folder / "evaluations.parquet").to_pylist()
    masks = [records.masks(level) for level in (1, 2, 3)]
    return [{**row, "seconds": 0} for row in rows], [{n: m.tolist() for n, m in mask.items()} for mask in masks]


def test_five_methods_at_two_densities_take_eleven_trainings(cell, settings, trained, tmp_path):
    cells = [cell(f"method={name}") for name in METHODS]
    assert {status["status"] for status in run(cells, settings).values()} == {"done"}
    assert sorted(trained) == [(0, 1), *[(1, 1)] * 5, *[(2, 1)] * 5]
    statuses = {one.key: CellRecords(settings.study, one.key).status() for one in cells}
    leader, *others = cells
    assert "dense_of" not in statuses[leader.key]
    assert all(statuses[one.key]["dense_of"] == leader.key for one in others)
    assert len({statuses[one.key]["dense_key"] for one in cells}) == 1
    for one in others:  # of the shared rows no time is counted twice
        table = pq.read_table(settings.study / one.key / "levels.parquet").to_pylist()
        assert [row["seconds"] == 0 for row in table] == [True, False, False]
    # Each is bit for bit the cell that trains its own dense network.
    for number, one in enumerate(cells):
        alone = Settings(tmp_path / f"alone{number}", tmp_path, device="cpu", workers=1, stack_size=1)
        run([one], alone)
        assert rows_of(alone, one) == rows_of(settings, one)


def test_a_later_command_takes_over_what_an_earlier_one_kept(cell, settings, trained):
    run([cell("method=one_shot")], settings)
    trained.clear()
    later = [cell("method=snip"), cell("method.rewind=weights"), cell("prune_rate=uniform")]
    run(later, settings)
    assert [level for level, _ in trained].count(0) == 0
    trained.clear()
    run([cell("method.rewind=3it")], settings)  # nobody kept the weights after three steps
    assert [level for level, _ in trained] == [0, 1, 2]
    run([cell("method.rewind=3it", "method.score=movement")], settings)
    assert [level for level, _ in trained][3:] == [0, 1, 2]  # that kept no weights at the end of the level


def test_together_they_keep_what_any_of_them_needs(cell, settings, trained):
    cells = [cell(), cell("method.rewind=3it"), cell("method.rewind=2it")]
    run(cells, settings)
    assert [level for level, _ in trained].count(0) == 1
    files = [sorted(CellRecords(settings.study, one.key).status()["files"]) for one in cells]
    kept = [[name.split("/")[1] for name in each if "weights_" in name] for each in files]
    assert kept == [
        [f"weights_00_{n}.safetensors" for n in (2, 3, 6)],
        ["weights_00_3.safetensors"],
        ["weights_00_2.safetensors"],
    ]


def test_killed_at_any_training_it_ends_with_the_same_bits(cell, settings, trained, tmp_path):
    cells = [cell(f"method={name}") for name in ("imp", "one_shot", "snip")]
    run(cells, settings)
    whole, count = [rows_of(settings, one) for one in cells], len(trained)
    for stop in range(count):
        again = Settings(tmp_path / f"killed{stop}", tmp_path, device="cpu", workers=1, stack_size=1)
        trained.clear()
        trained.stop_at = stop
        with pytest.raises(KeyboardInterrupt):
            run(cells, again)
        run(cells, again)
        assert len(trained) == count  # nothing is trained twice
        assert [rows_of(again, one) for one in cells] == whole


def test_weights_that_are_not_what_was_written_are_not_taken_over(cell, settings, trained):
    first = cell("method=one_shot")
    run([first], settings)
    (path,) = (settings.study / first.key).glob("tickets/weights_00_*")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    trained.clear()
    other = cell("method=snip")
    run([other], settings)
    assert [level for level, _ in trained] == [0, 1, 2]
    assert "dense_of" not in CellRecords(settings.study, other.key).status()


def test_a_dense_network_that_diverged_is_taken_over_as_that(cell, settings, trained, tmp_path):
    """Beside a neighbour it trains to its end, so that there are weights to take over, none of them finite."""
    sgd = ("optimizer=sgd", "evaluate_every=2")
    cells = [cell(*sgd, f"lr.value={lr}", f"method={name}") for lr in (1000, 0.01) for name in ("imp", "one_shot")]
    together = dataclasses.replace(settings, stack_size=2)
    statuses = run(cells, together)
    assert [statuses[one.key]["status"] for one in cells] == ["diverged", "diverged", "done", "done"]
    assert trained[0] == (0, 2)
    assert [level for level, _ in trained].count(0) == 1
    alone = Settings(tmp_path / "alone", tmp_path, device="cpu", workers=1, stack_size=2)
    run([cells[1], cells[3]], alone)
    for one in (cells[1], cells[3]):
        found = [
            [{**row, "seconds": 0} for row in pq.read_table(where.study / one.key / "levels.parquet").to_pylist()]
            for where in (together, alone)
        ]
        assert repr(found[0]) == repr(found[1])  # nan is not equal to itself


def test_a_dense_network_with_a_twin_is_not_shared(cell, settings, trained):
    run([cell("method.controls=[twin]"), cell("method=snip")], settings)
    assert [level for level, _ in trained].count(0) == 2


def test_stacks_do_not_mix_cells_that_take_over_with_others(cell, settings):
    run([cell("method=one_shot")], settings)
    plan = prepare(
        [cell("method=snip", f"seed={seed}") for seed in range(3)], Settings(**{**vars(settings), "stack_size": 8})
    )
    assert sorted(len(stack.cells) for stack in planned_stacks(plan)) == [1, 2]


def test_level_0_is_another_by_all_but_what_comes_after_it(cell):
    base = dense_key(cell())
    same = [
        "method=snip",
        "method.rewind=3it",
        "prune_rate=uniform",
        "levels=1",
        "method.controls=[reinit]",
        "prune_rate.value=0.3",
    ]
    other = ["seed=1", "init=he_n", "lr.value=0.1", "iterations=7", "batch_size=20", "optimizer=sgd", "validation=100"]
    assert {dense_key(cell(one)) for one in same} == {base}
    found = [base, *(dense_key(cell(one)) for one in other)]
    assert all(a != b for a, b in itertools.combinations(found, 2))
