"""Augmentation against a plain implementation, one picture at a time, and the streams that drive it."""

import copy
import dataclasses
import functools
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from ltsweep.data import Examples, scale
from ltsweep.data.augment import AUGMENTATIONS, PAD, crop, cutout, flip
from ltsweep.engine import train as train_module
from ltsweep.engine.problem import Draws
from ltsweep.engine.stack import Forward, Network
from ltsweep.grid.check import RULES
from ltsweep.init import draw, xavier_normal
from ltsweep.lottery.loop import run_levels
from ltsweep.lottery.program import Checkpoint, LevelDone
from ltsweep.method import IMP

ALL = ("crop", "flip", "cutout")


@pytest.fixture
def pictures():
    """Return 50 training and 20 test pictures of bytes, 3 x 6 x 8, in three classes."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(256, (70, 3, 6, 8), generator=rng, dtype=torch.uint8)
    y = torch.arange(70) % 3
    return Examples(x[:50], y[:50], x[50:], y[50:], scale=scale([0.4, 0.5, 0.6], [0.2, 0.3, 0.25]))


def cropped(picture, row, column):
    wide = np.pad(picture, ((0, 0), (PAD, PAD), (PAD, PAD)))
    return wide[:, row : row + picture.shape[1], column : column + picture.shape[2]]


def with_hole(picture, row, column):
    half, found = min(picture.shape[1:]) // 4, picture.copy()
    for y, x in itertools.product(*map(range, picture.shape[1:])):
        if row - half <= y < row + half and column - half <= x < column + half:
            found[:, y, x] = 0
    return found


def plain(picture, numbers, names):
    """Return one picture (3, 6, 8) of bytes, changed and normalized, as anyone would write it."""
    numbers = list(numbers)
    if "crop" in names:
        picture = cropped(picture, numbers.pop(0), numbers.pop(0))
    if "flip" in names and numbers.pop(0):
        picture = picture[:, :, ::-1]
    floats = picture.astype(np.float32) / np.float32(255)
    floats = (floats - np.float32([0.4, 0.5, 0.6])[:, None, None]) / np.float32([0.2, 0.3, 0.25])[:, None, None]
    return with_hole(floats, *numbers) if "cutout" in names else floats


def seen(data, batch):
    """Return the inputs (C, B, *shape) that networks get for a batch."""
    got = []

    def forward(x):
        got.append(x)
        return x.flatten(2)[:, :, :3]

    data.loss(forward, {}, batch)
    return got[0]


def test_every_crop_flip_and_hole_is_the_plain_one():
    picture = torch.arange(1, 3 * 6 * 8 + 1, dtype=torch.uint8).view(1, 3, 6, 8)
    for row, column in itertools.product(range(2 * PAD + 1), repeat=2):
        found = crop(picture, torch.tensor([[row, column]]))
        assert np.array_equal(found[0], cropped(picture[0].numpy(), row, column))
    assert torch.equal(crop(picture, torch.tensor([[PAD, PAD]])), picture)
    for row, column in itertools.product(range(6), range(8)):
        assert np.array_equal(
            cutout(picture, torch.tensor([[row, column]]))[0], with_hole(picture[0].numpy(), row, column)
        )
    both = flip(picture.expand(2, -1, -1, -1), torch.tensor([[0], [1]]))
    assert np.array_equal(both, np.stack([picture[0], picture[0].numpy()[:, :, ::-1]]))


def test_a_hole_is_half_as_wide_as_a_cifar_picture():
    hole = cutout(torch.ones(1, 3, 32, 32), torch.tensor([[16, 10]]))
    assert (hole == 0).sum() == 3 * 16 * 16


@pytest.mark.parametrize("names", [("crop",), ("flip",), ("cutout",), ("flip", "crop"), ALL], ids=",".join)
def test_a_batch_is_each_picture_changed_by_its_own_numbers(pictures, names):
    data = dataclasses.replace(pictures, augment=names)
    index, numbers = next(data.batches([Draws(0, 0, 5, 1), Draws(1, 0, 5, 2)], 16))
    assert (index.shape, numbers.shape[:2]) == ((3, 16), (3, 16))
    x = seen(data, (index, numbers))
    assert x.dtype == torch.float32
    for c, b in itertools.product(range(3), range(16)):
        own = plain(data.train_x[index[c, b]].numpy(), numbers[c, b].tolist(), names)
        assert np.array_equal(x[c, b], own)
    assert not torch.equal(x, seen(pictures, (index,)))


def test_numbers_take_each_value_and_no_other(pictures):
    data = dataclasses.replace(pictures, augment=ALL)
    batches = itertools.islice(data.batches([Draws(0, 0, 0, 1)], 50), 40)
    numbers = torch.cat([numbers[0] for _, numbers in batches])  # 2000 pictures
    for column, end in enumerate((2 * PAD + 1, 2 * PAD + 1, 2, 6, 8)):
        found = torch.bincount(numbers[:, column], minlength=end)
        assert len(found) == end
        assert (found - 2000 / end).abs().max() < 5 * (2000 / end) ** 0.5


def test_without_augmentation_a_batch_is_what_it_was(pictures):
    cell = Draws(3, 1, 5, 2)
    batches = list(itertools.islice(pictures.batches([cell], 16), 9))
    assert [len(batch) for batch in batches] == [1] * 9
    for names in (("crop",), ALL):
        augmented = dataclasses.replace(pictures, augment=names).batches([cell], 16)
        assert all(torch.equal(one[0], other[0]) for one, other in zip(batches, augmented, strict=False))


def numbers_of(data, cell, batches=5):
    return torch.cat([numbers for _, numbers in itertools.islice(data.batches([cell], 20), batches)], dim=1)


def test_a_ticket_and_its_controls_see_the_same_pictures_and_other_cells_and_levels_others(pictures):
    data = dataclasses.replace(pictures, augment=ALL)
    own = numbers_of(data, Draws(0, 0, 5, 3))
    assert torch.equal(own[0], own[1])
    assert torch.equal(own[0], own[2])
    for other in (Draws(1, 0, 5, 1), Draws(0, 1, 5, 1)):
        assert (numbers_of(data, other) != own[:1]).float().mean() > 0.5
    assert not torch.equal(own[:, :45], own[:, 45:90])  # each epoch anew


def test_an_augmentation_draws_the_same_beside_any_other(pictures):
    """So that cells of a grid over augmentations are paired."""
    alone, all_of_them = (
        numbers_of(dataclasses.replace(pictures, augment=names), Draws(0, 0, 0, 1)) for names in (("flip",), ALL)
    )
    assert torch.equal(alone[:, :, 0], all_of_them[:, :, 2])


def test_a_cell_draws_the_same_alone_and_in_a_stack_of_three(pictures):
    data = dataclasses.replace(pictures, augment=ALL)
    cells = [Draws(seed, 2, 5, 2) for seed in (0, 1, 2)]
    together = data.batches(cells, 16)
    alone = [data.batches([cell], 16) for cell in cells]
    for _ in range(7):  # over the ends of two epochs, whose last batch is smaller
        batch, own = next(together), [next(one) for one in alone]
        for part, parts in zip(batch, zip(*own, strict=True), strict=True):
            assert torch.equal(part, torch.cat(parts))


@pytest.fixture
def program(pictures, make_program):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 8, 3))
    data = dataclasses.replace(pictures, augment=ALL)
    adam = functools.partial(torch.optim.Adam, fused=True)
    return make_program(model, problem=data, method=IMP(controls=["reinit"]), make_optimizer=adam, levels=1)


def finished(events):
    return [event for event in events if isinstance(event, LevelDone)]


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        for row, again in zip(a.evaluations, b.evaluations, strict=True):
            assert row | {"seconds": 0} == again | {"seconds": 0}
        for name, mask in (a.next_masks or {}).items():
            assert torch.equal(mask, b.next_masks[name])


def test_a_step_with_augmentation_is_replayed_to_the_bit(program, make_member, monkeypatch):
    members = [make_member(program, "a"), make_member(program, "b", seed=1)]
    replayed = finished(run_levels(program, members, 0))
    monkeypatch.setattr(train_module, "replayed", train_module.as_written)
    assert_same(replayed, finished(run_levels(program, members, 0)))


def test_a_level_that_goes_on_inside_ends_with_the_same_bits(program, make_member):
    program = dataclasses.replace(program, checkpoint_every=0.0)
    members = [make_member(program, "a"), make_member(program, "b", seed=1)]
    events = [
        copy.deepcopy(event) if isinstance(event, Checkpoint) else event for event in run_levels(program, members, 0)
    ]
    whole = finished(events)
    masks = {done.key: done.next_masks for done in whole if done.level == 0}
    for checkpoint in [event for event in events if isinstance(event, Checkpoint)][1::3]:
        level = checkpoint.level
        resumed = [dataclasses.replace(m, recorded={1: masks[m.key]}.get) for m in members] if level else members
        rest = finished(run_levels(program, resumed, level, checkpoint))
        assert_same([done for done in whole if done.level >= level], rest)


def test_scores_are_of_pictures_as_they_are(pictures):
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 8, 3))
    weights = draw(model, xavier_normal, 0, "init")
    network = Network(model)
    state = network.stack([weights], [{}], torch.device("cpu"))
    forward = Forward(network, state.params, state.buffers, training=False)
    cells = [Draws(0, 0, 5, 1)]
    scores = [dataclasses.replace(pictures, augment=names).evaluate(forward, {}, cells) for names in ((), ALL)]
    assert scores[0] == scores[1]
    # and these are of the floats that anyone would make of the bytes
    model.load_state_dict(weights)
    x = np.stack([plain(picture.numpy(), (), ()) for picture in pictures.test_x])
    logits = model(torch.from_numpy(x)).detach()
    loss = nn.functional.cross_entropy(logits, pictures.test_y)
    assert scores[0]["test_loss"][0] == pytest.approx(float(loss), rel=1e-6)


def test_a_config_may_name_each_augmentation():
    rule = RULES["dataset.augment"]
    assert all(rule.holds([name]) for name in AUGMENTATIONS)
    assert rule.holds([])
    assert tuple(AUGMENTATIONS) == ALL


def test_a_device_is_given_the_scale_too(pictures):
    moved = pictures.to(torch.device("meta"))
    assert moved.train_x.is_meta
    assert moved.scale.white.is_meta
    assert moved.inputs(moved.test_x).is_meta
