"""scikit-learn's handwritten digits, which need no download."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ltsweep.data.examples import Examples


def digits(data_dir: Path, augment: Sequence[str] = ()) -> Examples:
    """Return scikit-learn's digits, always in the same split by class: 1,437 to train, 360 to test. Needs no files."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pictures, labels = load_digits(return_X_y=True)
    split = train_test_split(pictures, labels, test_size=360, random_state=0, stratify=labels)
    train_x, test_x, train_y, test_y = (torch.from_numpy(part) for part in split)

    def picture(flat: Tensor) -> Tensor:
        return flat.float().div_(16).view(-1, 1, 8, 8)

    return Examples(picture(train_x), train_y.long(), picture(test_x), test_y.long(), augment=augment)
