"""Pictures that are decoded batch by batch: which they are, that nothing else decides a bit, and what is refused."""

import dataclasses
import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ltsweep.data import Examples, imagenet
from ltsweep.data.decode import Decoder, Wanted, random_cut
from ltsweep.engine.problem import Draws, Part
from ltsweep.engine.stack import Network
from ltsweep.engine.train import scored
from ltsweep.engine.trained import MaskedWeights
from ltsweep.errors import UserError
from ltsweep.init import draw, kaiming_normal
from ltsweep.prune import layers_of

SIZE, RESIZE, CLASSES = 8, 10, 3
MEAN, STD = [0.4, 0.5, 0.6], 0.25
SPLITS = {"train": 18, "val": 7}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Return a folder of 18 + 7 pictures in three classes, of different sizes, beside what is no picture."""
    root = tmp_path_factory.mktemp("streamed") / "pictures"
    for split, count in SPLITS.items():
        for number in range(count):
            rng = np.random.default_rng([number, count])
            pixels = rng.integers(0, 256, (rng.integers(9, 20), rng.integers(9, 20), 3), dtype=np.uint8)
            path = root / split / f"n{number % CLASSES}" / f"{number:02}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, "JPEG")
    (root / "train/n0/notes.txt").write_text("no picture")
    return root


def load(root, **more):
    fields = {"shape": [3, SIZE, SIZE], "classes": CLASSES, "size": SIZE, "resize": RESIZE, "decoders": 0}
    return imagenet(root.parent, root.name, mean=MEAN, std=STD, **fields | more)


@pytest.fixture(scope="module")
def problem(root):
    return load(root)


def as_scored(root, split):
    """Return all pictures of a split as torchvision's own transforms make them of its own data set, and the labels."""
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    data = ImageFolder(root / split, v2.Compose([v2.Resize(RESIZE), v2.CenterCrop(SIZE), v2.PILToTensor()]))
    return torch.stack([picture for picture, _ in data]), torch.tensor(data.targets)


def batches(problem, cells, size, count, first=0):
    found = list(itertools.islice(problem.batches(cells, size, first), count))
    assert all(x.dtype == torch.uint8 for x, _ in found)
    return found


def assert_same(some, others):
    for one, other in zip(some, others, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_pictures_are_those_of_torchvisions_own_data_set(root, problem):
    for split, names, y in (("train", problem.train, problem.train_y), ("val", problem.test, problem.test_y)):
        pictures, labels = as_scored(root, split)
        assert torch.equal(y, labels)
        found = [problem.decoder[Wanted(problem._path(names, n))] for n in range(SPLITS[split])]
        assert torch.equal(torch.stack(found), pictures)


def test_scores_are_those_of_the_same_pictures_in_memory(root, problem):
    """All of a split, and the examples of a cell's own: held out, and a sample of the others."""
    parts = [part for split in SPLITS for part in as_scored(root, split)]
    inside = Examples(*parts, scale=problem.scale)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, CLASSES))
    network = Network(model)
    masks = {layer.name: torch.ones(layer.shape) for layer in layers_of(model)}
    weights = [draw(model, kaiming_normal, seed) for seed in range(3)]
    forward = scored(network, MaskedWeights(network), network.stack(weights, [masks] * 3, torch.device("cpu")))
    for sample in (None, 6):
        cells = [Draws(0, 0, 4, 2, sample), Draws(1, 0, 4, 1, sample)]
        found, expected = problem.evaluate(forward, {}, cells), inside.evaluate(forward, {}, cells)
        assert (
            found.keys()
            == expected.keys()
            == {f"{a}_{b}" for a in ("train", "val", "test") for b in ("loss", "accuracy")}
        )
        for name, values in expected.items():
            assert found[name] == pytest.approx(values, rel=1e-6)
    fewer, expected = (one.with_test(3).evaluate(forward, {}, cells, ["test"]) for one in (problem, inside))
    assert fewer["test_loss"] == pytest.approx(expected["test_loss"])
    x, y = batches(problem, cells, 5, 1)[0]
    smooth = dataclasses.replace(problem, label_smoothing=0.1)
    each = nn.CrossEntropyLoss(label_smoothing=0.1)
    for c, loss in enumerate(smooth.loss(forward, {}, (x, y))):
        logits = forward(problem.scale(x))[c]
        torch.testing.assert_close(loss, each(logits, y[c]))


def test_a_cell_sees_the_order_of_examples_each_picture_once_an_epoch(root, problem):
    cell = Draws(3, 1, 4, 2)
    found = batches(problem, [cell], 4, 8)  # 14 pictures: 4, 4, 4, 2 and again
    inside = Examples(*(part for split in SPLITS for part in as_scored(root, split)))
    orders = list(itertools.islice(inside.batches([cell], 4), 8))
    for (x, y), (index,) in zip(found, orders, strict=True):
        assert x.shape == (2, index.shape[1], 3, SIZE, SIZE)
        assert torch.equal(y, inside.train_y[index])
        assert torch.equal(x[0], x[1])  # a ticket and its control
    assert problem.epoch(4, 4) == 4


def test_neither_packing_nor_resuming_nor_the_number_of_decoders_changes_a_bit(root, problem, monkeypatch):
    cells = [Draws(3, 1, 4, 1), Draws(5, 1, 4, 1)]
    together = batches(problem, cells, 4, 6)
    for c, cell in enumerate(cells):
        assert_same([(x[c : c + 1], y[c : c + 1]) for x, y in together], batches(problem, [cell], 4, 6))
    # Of others, none is decoded, though decoders work ahead.
    assert_same(together, batches(load(root, decoders=2), cells, 4, 6))
    seen = []
    monkeypatch.setattr(Decoder, "__getitem__", lambda self, wanted: seen.append(wanted) or torch.zeros(3, 1, 1).byte())
    batches(problem, cells, 4, 1, first=5)
    assert len(seen) == 2 * 4
    monkeypatch.undo()
    assert_same(together[5:], batches(problem, cells, 4, 1, first=5))
    parts = [itertools.islice(problem.batches(cells, 4, 1, Part(number, 2)), 5) for number in range(2)]
    assert_same(
        together[1:], [[torch.cat(pair, 1) for pair in zip(*own, strict=True)] for own in zip(*parts, strict=True)]
    )
    other = batches(problem, [Draws(3, 2, 4, 1)], 4, 1)
    assert not torch.equal(other[0][0], together[0][0][:1])  # another level


def test_an_epoch_cuts_each_picture_anew(problem):
    cell = Draws(0, 0, 17, 1)  # one picture left to train on
    pictures = torch.cat([x[0] for x, _ in batches(problem, [cell], 1, 40)])
    assert len({picture.numpy().tobytes() for picture in pictures}) > 30


def test_a_random_cut_has_torchvisions_distribution():
    from torchvision.transforms.v2 import RandomResizedCrop

    torch.manual_seed(0)
    rng, count = torch.Generator().manual_seed(0), 4000
    for height, width in ((60, 80), (20, 100), (100, 20), (1, 1)):
        theirs = RandomResizedCrop(8)
        picture = [torch.empty(3, height, width)]
        expected = [theirs.make_params(picture) for _ in range(count)]
        found = np.array([random_cut(height, width, rng) for _ in range(count)], dtype=float)
        other = np.array([[one[name] for name in ("top", "left", "height", "width")] for one in expected], dtype=float)
        assert (found >= 0).all()
        assert (found[:, 0] + found[:, 2] <= height).all()
        assert (found[:, 1] + found[:, 3] <= width).all()
        error = 5 * np.sqrt((found.var(0) + other.var(0)) / count) + 1e-9
        assert (abs(found.mean(0) - other.mean(0)) <= error).all()
        assert found.std(0) == pytest.approx(other.std(0), rel=0.1, abs=1e-9)


def test_half_of_the_pictures_are_mirrored(root):
    """Of a white picture with a black left half, whatever is cut out, black is left or right."""
    path = root.parent / "half.png"
    pixels = np.full((40, 40, 3), 255, dtype=np.uint8)
    pixels[:, :20] = 0
    Image.fromarray(pixels).save(path)
    found = [Decoder(8, 8)[Wanted(str(path), (Draws(0, 0, 0, 1), "", place))].float() for place in range(200)]
    sides = [float(one[:, :, 0].mean() - one[:, :, -1].mean()) for one in found]
    assert 60 < sum(side > 0 for side in sides) < 140
    assert sum(side < 0 for side in sides) > 40


def refused(root, **more):
    with pytest.raises(UserError) as caught:
        load(root, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_such_folder_is_one_line(root, tmp_path):
    assert refused(tmp_path / "none").startswith(
        f"{tmp_path / 'none/train'} is no folder; dataset.root is a folder with"
    )
    assert refused(root, classes=1000) == f"{root} has 3 classes, and dataset.num_classes=1000"
    assert refused(root, resize=7) == "dataset.resize=7 is less than dataset.size=8, which is cut out of it"
    assert refused(root, shape=[1, 8, 8]) == "dataset.input_shape=[1, 8, 8] is [3,8,8] by dataset.size=8"
    assert refused(root, decoders=-1).startswith("dataset.decoders=-1 is out of range: ")
    own = Path(shutil.copytree(root, tmp_path / "own"))
    shutil.rmtree(own / "val/n1")
    assert refused(own) == f"{own}: train has the class n1, and val does not"
    (own / "val/n1").mkdir()
    assert refused(own).startswith(f"{own / 'val'}: Found no valid file for the classes n1.")


@pytest.mark.parametrize("decoders", [0, 1])
def test_a_file_that_is_no_picture_is_named(root, tmp_path, decoders):
    own = Path(shutil.copytree(root, tmp_path / "own"))
    broken = own / "train/n1/01.JPEG"
    broken.write_bytes(broken.read_bytes()[:150])
    with pytest.raises(UserError) as caught:
        batches(load(own, decoders=decoders), [Draws(0, 0, 0, 1)], 6, 3)
    assert str(caught.value).startswith(f"{broken} cannot be decoded: ")
    assert "\n" not in str(caught.value)


def test_forms_of_jpeg_and_png_become_three_channels(tmp_path):
    for mode, form in (("L", "JPEG"), ("CMYK", "JPEG"), ("RGBA", "PNG"), ("L", "PNG"), ("P", "PNG")):
        path = tmp_path / f"{mode}.{form}"
        Image.new(mode, (12, 9)).save(path, form)
        found = Decoder(4, 5)[Wanted(str(path))]
        assert isinstance(found, torch.Tensor), found
        assert found.shape == (3, 4, 4)
