import dataclasses
import gzip
import hashlib
import struct

import numpy as np
import pytest
import torch

from ltsweep.data import Dataset, digits, embedded, scale, torchvision_mnist
from ltsweep.data.examples import check_examples, repeat_channel
from ltsweep.errors import UserError

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def test_digits_are_scikit_learns_split_by_class(tmp_path):
    from sklearn.datasets import load_digits

    data = digits(tmp_path)
    assert data.train_x.shape == (1437, 1, 8, 8)
    assert data.test_x.shape == (360, 1, 8, 8)
    assert data.train_x.dtype == data.test_x.dtype == torch.float32
    assert data.train_y.dtype == data.test_y.dtype == torch.int64
    pictures, labels = load_digits(return_X_y=True)
    expected = sorted((int(label), *(picture / 16).tolist()) for picture, label in zip(pictures, labels, strict=True))
    x, y = torch.cat([data.train_x, data.test_x]).flatten(1), torch.cat([data.train_y, data.test_y])
    # every example of the source once, with its own label: the split loses and repeats none
    assert sorted((int(label), *picture.tolist()) for picture, label in zip(x, y, strict=True)) == expected
    shares = torch.bincount(data.test_y) / torch.bincount(y)
    assert (shares - 360 / 1797).abs().max() < 0.01
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", [embedded._FILE, "nowhere.csv.gz"])  # read here, or by scikit-learn itself
def test_digits_are_to_the_bit_those_that_scikit_learn_loads_and_splits(monkeypatch, tmp_path, file):
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    monkeypatch.setattr(embedded, "_FILE", file)
    found = digits(tmp_path)
    split = train_test_split(
        *load_digits(return_X_y=True), test_size=360, random_state=0, stratify=load_digits().target
    )
    train_x, test_x, train_y, test_y = map(torch.from_numpy, split)
    for x, expected in ((found.train_x, train_x), (found.test_x, test_x)):
        assert torch.equal(x, expected.float().div_(16).view(-1, 1, 8, 8))
    assert torch.equal(found.train_y, train_y)
    assert torch.equal(found.test_y, test_y)


def test_map_reaches_every_part(data):
    doubled = data.map(lambda tensor: tensor * 2)
    for part in ("train_x", "train_y", "test_x", "test_y"):
        assert torch.equal(getattr(doubled, part), 2 * getattr(data, part))


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.1307, 0.3081), (0.0, 0.5), ([0.1, 0.2, 0.3], [0.5, 1, 2])])
def test_bytes_become_the_floats_that_they_were_before_they_were_held_as_bytes(mean, std):
    """Bit for bit, in the batch as in advance, of every byte."""
    x = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2, 3, 16, 16)
    expected = x.float().div_(255)
    for k in range(3):
        own = (mean, std) if isinstance(mean, float) else (mean[k], std[k])
        expected[:, k].sub_(own[0]).div_(own[1])
    assert torch.equal(scale(mean, std)(x), expected)


def test_examples_that_are_no_bytes_are_given_as_they_are(data):
    for x in (data.train_x, data.train_y, data.train_x.double()):
        assert dataclasses.replace(data, scale=scale(0.5, 2.0)).inputs(x) is x


def test_check_accepts_what_the_yaml_says(data):
    check_examples(data, "small", (1, 4, 4), 3)


def test_a_grey_channel_is_repeated_and_nothing_else_is_changed(data):
    grey = {"train_x": data.train_x[:, :1], "test_x": data.test_x[:, :1]}
    grey = dataclasses.replace(data, **grey)
    colours = repeat_channel(grey, [3, 4, 4])
    for part in ("train_x", "test_x"):
        repeated = getattr(colours, part)
        assert repeated.is_contiguous()
        assert torch.equal(repeated, torch.cat([getattr(grey, part)] * 3, dim=1))
    assert torch.equal(colours.train_y, grey.train_y)
    flat = dataclasses.replace(data, train_x=torch.zeros(50, 1), test_x=torch.zeros(23, 1))
    for same, shape in ((grey, [1, 4, 4]), (grey, [3, 5, 4]), (flat, [3]), (grey, [16])):
        assert torch.equal(repeat_channel(same, shape).train_x, same.train_x)


@pytest.mark.parametrize(
    ("change", "shape", "classes", "text"),
    [
        ({}, (1, 5, 4), 3, r"^dataset=small: input_shape is \[1, 5, 4\], the train files hold \[1, 4, 4\]$"),
        ({"test_x": torch.zeros(23, 16)}, (1, 4, 4), 3, r"^dataset=small: .*the test files hold \[16\]$"),
        ({}, (1, 4, 4), 2, r"^dataset=small: train labels run to 2, num_classes is 2$"),
        ({"test_y": torch.full((23,), 3)}, (1, 4, 4), 3, r"^dataset=small: test labels run to 3, num_classes is 3$"),
        ({"test_y": torch.full((23,), -1)}, (1, 4, 4), 3, r"^dataset=small: test labels"),
        ({"train_y": torch.zeros(49, dtype=torch.int64)}, (1, 4, 4), 3, r"^dataset=small: 50 train .* 49 labels$"),
        ({"scale": scale([0.1, 0.2])}, (1, 4, 4), 3, r"^dataset=small: mean has 2 numbers, and a picture 1 channels$"),
        ({"scale": scale(0.0, [1, 2])}, (1, 4, 4), 3, r"^dataset=small: std has 2 numbers, and a picture 1 channels$"),
        (
            {"augment": ["flap"]},
            (1, 4, 4),
            3,
            r"^dataset=small: augment=flap is unknown; choose of crop, flip, cutout$",
        ),
        (
            {"augment": ["flip"], "train_x": torch.zeros(50, 2), "test_x": torch.zeros(23, 2)},
            (2,),
            3,
            r"^dataset=small: augment is for pictures; an example has the shape \[2\]$",
        ),
    ],
)
def test_check_refuses_what_does_not_fit(data, change, shape, classes, text):
    parts = {name: getattr(data, name) for name in ("train_x", "train_y", "test_x", "test_y")}
    with pytest.raises(UserError, match=text):
        check_examples(Dataset(**parts | change), "small", shape, classes)


def pictures(n, value=7):
    return struct.pack(">4i", 2051, n, 28, 28) + bytes([value]) * (n * 784)


def labels(n):
    return struct.pack(">2i", 2049, n) + bytes(i % 10 for i in range(n))


@pytest.fixture
def write_mnist(tmp_path, monkeypatch):
    """Return a function that writes four files in MNIST's layout; no test reaches for the network."""
    from torchvision import datasets

    def no_download(self):
        raise OSError("no network\nin a test")

    monkeypatch.setattr(datasets.MNIST, "download", no_download)

    def write(train=60_000, test=10_000, kind="KMNIST", **other):
        raw = tmp_path / kind / "raw"
        raw.mkdir(parents=True)
        contents = [pictures(train, 51), labels(train), pictures(test, 255), labels(test)]
        for name, content in zip(FILES, contents, strict=True):
            (raw / name).write_bytes(other.get(name, content))
        return tmp_path

    return write


def test_files_in_torchvisions_layout_are_used_as_they_are_and_normalized(write_mnist):
    folder = write_mnist()
    data = torchvision_mnist(folder, "KMNIST", mean=0.1, std=0.4)
    assert data.train_x.shape == (60_000, 1, 28, 28)
    assert data.test_x.shape == (10_000, 1, 28, 28)
    assert data.train_x.dtype == torch.uint8
    assert data.train_y.dtype == torch.int64
    train, test = (data.inputs(x[:100]) for x in (data.train_x, data.test_x))
    assert train.dtype == torch.float32
    assert list(map(float, train.aminmax())) == pytest.approx([(51 / 255 - 0.1) / 0.4] * 2, rel=1e-6)
    assert list(map(float, test.aminmax())) == pytest.approx([(1 - 0.1) / 0.4] * 2, rel=1e-6)
    assert torch.equal(data.test_y, torch.arange(10_000) % 10)
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == sorted(FILES)


def refused(folder, kind="KMNIST"):
    with pytest.raises(UserError) as caught:
        torchvision_mnist(folder, kind)
    text = str(caught.value)
    assert "\n" not in text
    for part in (kind, str(folder / kind / "raw"), "LTSWEEP_DATA", "data_dir", "dataset=digits"):
        assert part in text
    return text


@pytest.mark.parametrize("kind", ["MNIST", "FashionMNIST", "KMNIST"])
def test_missing_files_that_cannot_be_downloaded_are_one_line(tmp_path, write_mnist, kind):
    assert "no network in a test" in refused(tmp_path, kind)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("size", [0, 3, 10, 5000])
def test_a_truncated_file_is_one_line(write_mnist, name, size):
    whole = pictures(10_000) if "images" in name else labels(10_000)
    refused(write_mnist(**{name: whole[:size]}))


def test_a_file_of_another_kind_is_one_line(write_mnist):
    refused(write_mnist(**{FILES[0]: gzip.compress(pictures(5))}))


@pytest.mark.parametrize("sizes", [(59_999, 10_000), (60_000, 100)])
def test_too_few_examples_are_one_line(write_mnist, sizes):
    assert "is not whole" in refused(write_mnist(*sizes))


def test_whole_files_that_are_not_mnists_are_refused_by_name(write_mnist):
    folder = write_mnist(kind="MNIST")
    first = folder / "MNIST/raw" / FILES[0]
    assert refused(folder, "MNIST").startswith(f"{first} is not MNIST's, or truncated: its SHA-256 is ")


@pytest.mark.mnist
@pytest.mark.parametrize("name", FILES)
def test_one_changed_bit_of_mnist_is_refused_by_name(mnist_dir, tmp_path, name):
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    for other in FILES:
        (raw / other).symlink_to(mnist_dir / "MNIST/raw" / other)
    torchvision_mnist(tmp_path, "MNIST")
    content = bytearray((raw / name).read_bytes())
    content[len(content) // 2] ^= 1
    (raw / name).unlink()
    (raw / name).write_bytes(content)
    assert refused(tmp_path, "MNIST").startswith(f"{raw / name} is not MNIST's")


def test_files_are_held_against_the_compressed_ones_beside_them(write_mnist, monkeypatch):
    """Torchvision leaves what it downloaded, and publishes the MD5 sums of that."""
    from torchvision import datasets

    folder = write_mnist()
    raw = folder / "KMNIST/raw"
    (raw / f"{FILES[2]}.gz").write_bytes(gzip.compress(b"something else"))
    assert f"the MD5 of {FILES[2]}.gz beside it is not 5c965bf0a639b31b8f53240b1b52f4d7" in refused(folder)
    compressed = {name: gzip.compress((raw / name).read_bytes(), 1) for name in FILES}
    published = [(f"{name}.gz", hashlib.md5(content).hexdigest()) for name, content in compressed.items()]
    monkeypatch.setattr(datasets.KMNIST, "resources", published)
    for name, content in compressed.items():
        (raw / f"{name}.gz").write_bytes(content)
    torchvision_mnist(folder, "KMNIST")
    (raw / FILES[3]).write_bytes(labels(10_000)[:-1] + b"\x00")
    assert f"{FILES[3]}.gz beside it holds another file" in refused(folder)


def test_a_data_set_of_another_kind_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"^dataset.kind=../CIFAR10 is unknown; choose MNIST, FashionMNIST, KMNIST$"):
        torchvision_mnist(tmp_path, "../CIFAR10")


@pytest.mark.mnist
def test_mnist_is_mnist(mnist_dir):
    data = torchvision_mnist(mnist_dir, "MNIST")
    check_examples(data, "mnist", (1, 28, 28), 10)
    assert torch.bincount(data.train_y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert torch.bincount(data.test_y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    pixels = data.inputs(data.train_x).numpy()
    assert pixels.min() == 0
    assert pixels.max() == 1
    assert np.mean(pixels, dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)
    assert np.std(pixels, dtype=np.float64) == pytest.approx(0.3081, abs=5e-5)
