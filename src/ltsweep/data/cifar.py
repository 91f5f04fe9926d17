"""CIFAR-10, CIFAR-100 and SVHN from files in torchvision's layout, which it checks by published MD5s."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltsweep.data.examples import Examples
from ltsweep.data.published import check_md5, fetch, quiet
from ltsweep.data.scale import PerChannel, scale
from ltsweep.errors import UserError
from ltsweep.words import shown

_KINDS = ("CIFAR10", "CIFAR100")

# Whether of the training split, whether to download -> pictures (N, K, H, W) of bytes, labels.
_Read = Callable[[bool, bool], tuple[Any, Any]]


def torchvision_cifar(
    data_dir: Path,
    kind: str,
    mean: PerChannel = 0.0,
    std: PerChannel = 1.0,
    augment: Sequence[str] = (),
    download: bool = True,
) -> Examples:
    """Return CIFAR10 or CIFAR100 from its folder in `data_dir`; torchvision unpacks its archive, or downloads it there.

    The labels of CIFAR100 are its 100 fine classes. mean and std are of pixels in [0, 1]. Raises UserError where files
    are missing and cannot be downloaded, or differ from the published MD5; NotHereError for missing files where
    `download` is false.
    """
    from torchvision import datasets  # slow to import, and needed for these data sets alone

    if kind not in _KINDS:
        raise UserError(f"dataset.kind={shown(kind)} is unknown; choose {', '.join(_KINDS)}")
    source = getattr(datasets, kind)
    folder = Path(data_dir) / source.base_folder
    published = [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]

    def read(train: bool, download: bool) -> tuple[Any, Any]:
        found = source(str(data_dir), train=train, download=download)
        return found.data.transpose(0, 3, 1, 2), found.targets

    put = f"put {source.filename}, or the folder {source.base_folder} that it holds, into {data_dir}"
    parts = _read(kind, {folder / name: md5 for name, md5 in published}, read, put, download)
    return Examples(*parts, scale=scale(mean, std), augment=augment)


def torchvision_svhn(
    data_dir: Path,
    mean: PerChannel = 0.0,
    std: PerChannel = 1.0,
    augment: Sequence[str] = (),
    download: bool = True,
) -> Examples:
    """Return SVHN's splits train and test from `data_dir`/SVHN; torchvision downloads missing files there.

    mean and std are of pixels in [0, 1]. Raises the errors of `torchvision_cifar`.
    """
    from torchvision.datasets import SVHN

    folder = Path(data_dir) / "SVHN"
    published = [SVHN.split_list[split] for split in ("train", "test")]

    def read(train: bool, download: bool) -> tuple[Any, Any]:
        found = SVHN(str(folder), "train" if train else "test", download=download)
        return found.data, found.labels

    put = f"put {' and '.join(name for _, name, _ in published)} into {folder}"
    parts = _read("SVHN", {folder / name: md5 for _, name, md5 in published}, read, put, download)
    return Examples(*parts, scale=scale(mean, std), augment=augment)


def _read(kind: str, files: Mapping[Path, str], read: _Read, put: str, download: bool) -> list[Tensor]:
    """Return training pictures and labels, test pictures and labels; download the files first where one is missing.

    files: path -> published MD5, all in one folder. put: in words, which files are to be put where.
    """
    help_line = f"{put}, set data_dir or LTSWEEP_DATA, or take dataset=digits"
    folder = next(iter(files)).parent
    if not all(file.is_file() for file in files):
        fetch(kind, folder, lambda: [read(train, True) for train in (True, False)], help_line, download)
    parts = []
    for train in (True, False):
        try:
            with quiet(20):
                pictures, labels = read(train, False)
        except Exception as error:
            for file, md5 in files.items():
                check_md5(kind, file, md5, help_line)
            raise UserError(f"{kind} in {folder} cannot be read: {shown(str(error))}; {help_line}") from error
        parts += [torch.from_numpy(np.ascontiguousarray(pictures)), torch.as_tensor(labels, dtype=torch.int64)]
    return parts
