"""scikit-learn's handwritten digits, which need no download."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ltsweep.data.examples import Examples

# Where scikit-learn keeps its digits: a line a picture, its 64 pixels from 0 to 16 and then its label.
_FILE = "datasets/data/digits.csv.gz"
_TEST = 360


def digits(data_dir: Path, augment: Sequence[str] = ()) -> Examples:
    """Return scikit-learn's digits, always in the same split by class: 1,437 to train, 360 to test. Needs no files."""
    table = _table()
    train, test = _split(table[:, -1].astype(np.int64))
    parts = (torch.from_numpy(table[rows]) for rows in (train, test))
    (train_x, train_y), (test_x, test_y) = (
        (part[:, :-1].float().div_(16).view(-1, 1, 8, 8), part[:, -1].long()) for part in parts
    )
    return Examples(train_x, train_y, test_x, test_y, augment=augment)


def _table() -> Any:
    """Return the pictures with their labels, (1797, 65), read without scikit-learn, which takes a second to import."""
    found = importlib.util.find_spec("sklearn")
    file = Path(found.origin).parent / _FILE if found and found.origin else None
    if file and file.is_file():
        return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits  # of a version that keeps them elsewhere

    pictures, labels = load_digits(return_X_y=True)
    return np.column_stack([pictures, labels])


def _split(labels: Any) -> tuple[Any, Any]:
    """Return the rows to train and to test on, as scikit-learn's `train_test_split` draws them by class with seed 0."""
    rng = np.random.RandomState(0)  # a stream that numpy keeps for good
    counts = np.bincount(labels)
    trained = _shares(counts, len(labels) - _TEST, rng)
    tested = _shares(counts - trained, _TEST, rng)
    train: list[int] = []
    test: list[int] = []
    for label, count in enumerate(counts):
        rows = np.flatnonzero(labels == label)[rng.permutation(count)]
        train.extend(rows[: trained[label]])
        test.extend(rows[trained[label] : trained[label] + tested[label]])
    return rng.permutation(train), rng.permutation(test)


def _shares(counts: Any, draws: int, rng: np.random.RandomState) -> Any:
    """Return how many of `draws` each class gets: in proportion, the largest remainders rounded up, ties by lot."""
    exact = counts / counts.sum() * draws
    shares = np.floor(exact)
    for remainder in np.unique(exact - shares)[::-1]:
        lacking = int(draws - shares.sum())
        if lacking <= 0:
            break
        tied = np.flatnonzero(exact - np.floor(exact) == remainder)
        shares[rng.choice(tied, size=min(len(tied), lacking), replace=False)] += 1
    return shares.astype(np.int64)
