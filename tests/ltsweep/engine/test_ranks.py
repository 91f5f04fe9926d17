"""Processes that train one stack together: what they learn is what one process learns, and they stay equal."""

import dataclasses
import functools
import multiprocessing
from datetime import timedelta

import pytest
import torch
from torch import distributed, nn

from ltsweep.engine.problem import Draws, Part
from ltsweep.lottery.loop import run_levels
from ltsweep.lottery.program import LevelDone
from ltsweep.method import IMP, EdgePopup


def levels(program, members):
    """Return for each level its last weights, the next masks or those that it learned, and its test losses."""
    return [
        (
            event.kept.get(program.steps, {}),
            event.next_masks or event.learned or {},
            [row["test_loss"] for row in event.evaluations],
        )
        for event in run_levels(program, members, 0)
        if isinstance(event, LevelDone)
    ]


def process(number, folder, run):
    torch.set_num_threads(1)  # a copy of a process lacks its other threads, and would wait for them
    joined = f"file://{folder / 'join'}"
    patience = timedelta(seconds=100)
    distributed.init_process_group("gloo", init_method=joined, rank=number, world_size=2, timeout=patience)
    torch.save(run(), folder / f"{number}.pt")
    distributed.destroy_process_group()


@pytest.fixture
def together(tmp_path):
    """Return a function that calls another in two joined processes, and returns what it returned in each."""

    def call(run):
        fork = multiprocessing.get_context("fork")  # spares the imports
        processes = [fork.Process(target=process, args=(number, tmp_path, run)) for number in range(2)]
        for one in processes:
            one.start()
        for one in processes:
            one.join(200)
            assert one.exitcode == 0
        return [torch.load(tmp_path / f"{number}.pt") for number in range(2)]

    return call


@pytest.fixture
def convolution():
    """Return a small convolutional network without batch norm."""
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("method", [IMP(rewind="weights"), EdgePopup(keep_last=True)], ids=["imp", "edge_popup"])
@pytest.mark.parametrize("norm", [False, True], ids=["plain", "batch norm"])
def test_two_processes_learn_what_one_does(together, make_program, make_member, convolution, tiny_bn, method, norm):
    """Batches of 6 of 41 examples: an epoch's last has 5, of which one process takes 3 and the other 2."""
    model = tiny_bn if norm else convolution
    sgd = functools.partial(torch.optim.SGD, momentum=0.9, fused=True)
    program = make_program(
        model,
        method=method,
        make_optimizer=sgd,
        steps=9,
        steps_per_epoch=7,
        batch_size=6,
        validation=9,
        levels=1,
        clip=5.0,
    )
    member = make_member(program, "cell")
    one, other = together(lambda: levels(program, [member]))
    for (weights, masks, losses), (theirs, their_masks, their_losses) in zip(one, other, strict=True):
        assert weights.keys() == theirs.keys()
        assert all(torch.equal(value, theirs[name]) for name, value in weights.items())
        assert all(torch.equal(value, their_masks[name]) for name, value in masks.items())
        assert losses == their_losses
    assert one[-1][0]  # weights were kept
    if norm:  # its statistics are of half a batch
        return
    for (weights, masks, losses), (expected, alone, scores) in zip(one, levels(program, [member]), strict=True):
        for name, value in expected.items():
            torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-5)
        assert all(torch.equal(value, alone[name]) for name, value in masks.items())
        assert losses == pytest.approx(scores, rel=1e-4)


def test_parts_are_the_whole_batch(data):
    augmented = dataclasses.replace(data, augment=["crop", "flip"])
    cells = [Draws(0, 0, 9, 2), Draws(1, 0, 9, 1)]
    whole = augmented.batches(cells, 7)
    parts = [augmented.batches(cells, 7, 2, Part(number, 3)) for number in range(3)]
    for _ in range(2):
        next(whole)
    for _ in range(9):
        own = [next(part) for part in parts]
        assert [len(index[0]) for index, _ in own] in ([3, 2, 2], [2, 2, 2])  # the last batch has six
        for place, expected in enumerate(next(whole)):
            assert torch.equal(torch.cat([part[place] for part in own], dim=1), expected)
