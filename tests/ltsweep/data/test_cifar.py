"""CIFAR-10, CIFAR-100 and SVHN from small files of the published format, known by MD5s of their own."""

import hashlib
import pickle

import numpy as np
import pytest
import scipy.io
import torch
from torchvision import datasets

from ltsweep.data import torchvision_cifar, torchvision_svhn
from ltsweep.data.examples import check_examples
from ltsweep.errors import NotHereError, UserError

PICTURES = 4  # a file


def written(path, content):
    """Write a file, and return its name and MD5."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path.name, hashlib.md5(content).hexdigest()


def batch(seed, labels, classes):
    rng = np.random.default_rng(seed)
    entry = {"data": rng.integers(0, 256, (PICTURES, 3072), dtype=np.uint8)}
    return entry | {labels: rng.integers(0, classes, PICTURES).tolist()}


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """Return a function that writes small files of CIFAR10 or CIFAR100, and returns what they hold."""

    def write(kind):
        source = getattr(datasets, kind)
        labels, classes = ("labels", 10) if kind == "CIFAR10" else ("fine_labels", 100)
        names = [name for name, _ in (*source.train_list, *source.test_list)]
        entries = {name: batch(i, labels, classes) for i, name in enumerate(names)}
        folder = tmp_path / source.base_folder
        made = {name: written(folder / name, pickle.dumps(entry, protocol=2)) for name, entry in entries.items()}
        for kept in ("train_list", "test_list"):
            monkeypatch.setattr(source, kept, [list(made[name]) for name, _ in getattr(source, kept)])
        _, md5 = written(folder / source.meta["filename"], pickle.dumps({source.meta["key"]: ["a"] * classes}))
        monkeypatch.setattr(source, "meta", source.meta | {"md5": md5})
        return [(entry["data"].reshape(-1, 3, 32, 32), entry[labels]) for entry in entries.values()], folder

    return write


@pytest.fixture
def svhn(tmp_path, monkeypatch):
    """Return a function that writes small files of SVHN, and returns what they hold."""

    def write():
        held, found = [], {}
        for seed, split in enumerate(("train", "test")):
            rng = np.random.default_rng(seed)
            x, y = (
                rng.integers(0, 256, (32, 32, 3, 11), dtype=np.uint8),
                np.arange(11, dtype=np.uint8)[:, None] % 10 + 1,
            )
            path = tmp_path / "SVHN" / f"{split}_32x32.mat"
            path.parent.mkdir(exist_ok=True)
            scipy.io.savemat(path, {"X": x, "y": y})
            found[split] = ["", path.name, hashlib.md5(path.read_bytes()).hexdigest()]
            held.append((x.transpose(3, 2, 0, 1), y.flatten() % 10))  # 10 stands for the digit 0
        monkeypatch.setattr(datasets.SVHN, "split_list", found)
        return held

    return write


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def no_download(*arguments, **more):
        raise OSError("no network\nin a test")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", no_download)
    monkeypatch.setattr("torchvision.datasets.svhn.download_url", no_download)


@pytest.mark.parametrize("kind", ["CIFAR10", "CIFAR100"])
def test_pictures_of_torchvisions_layout_are_held_as_their_bytes(cifar, tmp_path, kind):
    held, _ = cifar(kind)
    data = torchvision_cifar(tmp_path, kind, mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.25], augment=["flip"])
    check_examples(data, kind, (3, 32, 32), 100)
    assert data.augment == ["flip"]
    for x, y, parts in ((data.train_x, data.train_y, held[:-1]), (data.test_x, data.test_y, held[-1:])):
        assert x.dtype == torch.uint8
        assert x.is_contiguous()
        assert np.array_equal(x, np.concatenate([pictures for pictures, _ in parts]))
        assert y.tolist() == [label for _, labels in parts for label in labels]
    floats = data.inputs(data.test_x)
    expected = (data.test_x[0, 2, 5, 7].double() / 255 - 0.6) / 0.25
    assert float(floats[0, 2, 5, 7]) == pytest.approx(float(expected), rel=1e-6)


def test_svhn_is_read_with_ten_as_the_digit_nought(svhn, tmp_path):
    held = svhn()
    data = torchvision_svhn(tmp_path)
    for x, y, (pictures, labels) in ((data.train_x, data.train_y, held[0]), (data.test_x, data.test_y, held[1])):
        assert np.array_equal(x, pictures)
        assert y.tolist() == labels.tolist()
    check_examples(data, "svhn", (3, 32, 32), 10)


READERS = {
    "CIFAR10": (lambda *a, **m: torchvision_cifar(a[0], "CIFAR10", **m), "cifar-10-python.tar.gz"),
    "CIFAR100": (lambda *a, **m: torchvision_cifar(a[0], "CIFAR100", **m), "cifar-100-python.tar.gz"),
    "SVHN": (torchvision_svhn, "train_32x32.mat"),
}


@pytest.mark.parametrize("kind", READERS)
def test_a_line_says_where_missing_files_go(tmp_path, kind):
    read, file = READERS[kind]
    with pytest.raises(UserError) as caught:
        read(tmp_path)
    text = str(caught.value)
    assert "\n" not in text
    for part in (f"{kind} is not in {tmp_path}", "no network in a test", f"put {file}", str(tmp_path), "LTSWEEP_DATA"):
        assert part in text
    with pytest.raises(NotHereError, match=f"^{kind} is not in "):
        read(tmp_path, download=False)


def test_one_changed_bit_is_refused_by_name(cifar, svhn, tmp_path):
    _, folder = cifar("CIFAR10")
    svhn()
    for read, file in (
        (READERS["CIFAR10"][0], folder / "data_batch_3"),
        (torchvision_svhn, tmp_path / "SVHN/test_32x32.mat"),
    ):
        read(tmp_path)
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        with pytest.raises(UserError, match="or truncated: its MD5 is ") as caught:
            read(tmp_path)
        assert str(caught.value).startswith(f"{file} is not ")


def test_another_kind_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"^dataset.kind=../MNIST is unknown; choose CIFAR10, CIFAR100$"):
        torchvision_cifar(tmp_path, "../MNIST")
