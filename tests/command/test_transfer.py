"""A saved ticket trained with another optimizer, by the command: the source stays as it is, mistakes are one line."""

import numpy as np

QUICK = ("model=mlp", "model.hidden=[20]", "iterations=10", "workers=1")


def test_a_ticket_is_trained_with_another_optimizer(command, small):
    command.inside(*small, *QUICK, "levels=2", "study=source")
    source = command.study("source")
    ((key, theirs),) = source.cells().items()
    before = source.snapshot()
    to = ("-m", *small, *QUICK, "method=transfer", "optimizer=sgd", "study=target", "method.controls=[random_ticket]")
    tickets = f"method.ticket=source/{key}@1,source/{key}@2"
    ended = command(*to, tickets, "levels=1")
    assert "2 done" in ended.out
    assert f"method.ticket=source/{key}@1" in ended.out
    assert "sha256" not in ended.out
    assert source.snapshot() == before
    cells = {cell.config["method"]["ticket"]: cell for cell in command.study("target").cells().values()}
    for level in (1, 2):
        cell = cells[f"source/{key}@{level}"]
        for mine, other in ((cell.initial, theirs.initial), (cell.mask(1), theirs.mask(level))):
            assert mine.keys() == other.keys()
            assert all(np.array_equal(mine[name], other[name]) for name in mine)
        rows = cell.levels[cell.levels["level"] == 1]
        assert list(rows["arm"]) == ["ticket", "random_ticket"]
        assert {tuple(counts) for counts in rows["layer_remaining"]} == {
            tuple(int(mask.sum()) for mask in theirs.mask(level).values())
        }
    written = command.study("target").snapshot()
    assert "nothing to compute" in command.inside(*to, tickets, "levels=1").out
    assert command.study("target").snapshot() == written
    for overrides, says in (
        ((tickets,), "levels=15: method=transfer has two, 0 the dense network and 1 the ticket; add levels=1"),
        (("levels=1",), "method.ticket=null is no ticket: it is <study>/<key>@<level>, such as "),
        (("levels=1", f"method.ticket=source/{key}@4"), f"method.ticket=source/{key}@4: cell {key} has no mask of "),
        (("levels=1", tickets, "model.hidden=[21]"), f"method.ticket=source/{key}@1 is of another network: its fc1."),
    ):
        error = command.inside(*to, *overrides, code=2).err
        assert error.startswith(f"ltsweep: {says}")
        assert error.count("\n") == 1
    assert "ticket=null" in command.inside("--cfg", "job", "method=transfer", "levels=1", code=2).err
    assert command.study("target").snapshot() == written
