"""Data sets, whole in memory. A data set is a short function and a YAML in conf/dataset/."""

import contextlib
import io
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ltsweep.errors import UserError


@dataclass(frozen=True)
class Dataset:
    """Training and test examples: x float32 (N, *input_shape), y int64 (N,)."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor

    def map(self, fn: Callable[[Tensor], Tensor]) -> "Dataset":
        """Return the data set with `fn` applied to each tensor."""
        return Dataset(fn(self.train_x), fn(self.train_y), fn(self.test_x), fn(self.test_y))


@contextlib.contextmanager
def _quiet_network(seconds: float) -> Iterator[None]:
    """Bound how long a download may hang, and keep torchvision's own lines off the terminal."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(before)


def torchvision_mnist(data_dir: Path, kind: str, mean: float = 0.0, std: float = 1.0) -> Dataset:
    """Load MNIST, FashionMNIST or KMNIST through torchvision, from `data_dir`/<kind>/raw or by downloading into it.

    Pixels become [0, 1], then (pixel - mean) / std. Raises UserError where the files are missing and cannot be
    downloaded, are truncated, or are not this data set's.
    """
    from torchvision import datasets  # slow to import, and needed for these data sets alone

    source = getattr(datasets, kind)
    raw = Path(data_dir) / kind / "raw"
    help_line = f"put the four {kind} files into {raw}, set data_dir or LTSWEEP_DATA, or take dataset=digits"
    unreadable = f"{kind} in {raw} cannot be read: a file is truncated or not {kind}'s; {help_line}"
    parts = []
    for train, examples in ((True, 60_000), (False, 10_000)):
        try:
            part = source(str(data_dir), train=train)
        except RuntimeError as error:
            if "Dataset not found" not in str(error):
                raise UserError(unreadable) from error
            try:
                with _quiet_network(20):
                    part = source(str(data_dir), train=train, download=True)
            except Exception as refused:
                reason = " ".join(str(refused).split()) or type(refused).__name__
                raise UserError(f"{kind} is not in {raw} and cannot be downloaded ({reason}); {help_line}") from refused
        except Exception as error:
            raise UserError(unreadable) from error
        if part.data.shape != (examples, 28, 28) or part.targets.shape != (examples,):
            found = f"{tuple(part.data.shape)} pictures and {tuple(part.targets.shape)} labels"
            raise UserError(f"{kind} in {raw} is not whole: {found}, not {examples} of each; {help_line}")
        pixels = part.data.unsqueeze(1).float().div_(255).sub_(mean).div_(std)
        parts += [pixels, part.targets.long()]
    return Dataset(*parts)


def digits(data_dir: Path) -> Dataset:
    """Load scikit-learn's digits, split by class once and for all: 1,437 to train, 360 to test. Needs no files."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pictures, labels = load_digits(return_X_y=True)
    split = train_test_split(pictures, labels, test_size=360, random_state=0, stratify=labels)
    train_x, test_x, train_y, test_y = (torch.from_numpy(part) for part in split)

    def picture(flat: Tensor) -> Tensor:
        return flat.float().div_(16).view(-1, 1, 8, 8)

    return Dataset(picture(train_x), train_y.long(), picture(test_x), test_y.long())


def check(data: Dataset, name: str, input_shape: Sequence[int], num_classes: int) -> None:
    """Raise UserError unless `data` is what the YAML of data set `name` says it is."""
    for split, x, y in (("train", data.train_x, data.train_y), ("test", data.test_x, data.test_y)):
        if tuple(x.shape[1:]) != tuple(input_shape):
            raise UserError(
                f"dataset={name}: input_shape is {list(input_shape)}, the {split} files hold {list(x.shape[1:])}"
            )
        if len(x) != len(y):
            raise UserError(f"dataset={name}: {len(x)} {split} examples but {len(y)} labels")
        if int(y.min()) < 0 or int(y.max()) >= num_classes:
            raise UserError(f"dataset={name}: {split} labels run to {int(y.max())}, num_classes is {num_classes}")
