import math

import pytest
import torch

from ltsweep.errors import BrokenFileError, UserError
from ltsweep.store.checkpoints import load_checkpoint, save_checkpoint

KEY = "0123456789abcdef"
# The file of a checkpoint as it was written before the code was divided into folders: level 1, step 3, two weights.
FACTS = {
    "level": 2,
    "arms": ["ticket/0", "reinit/1"],
    "step": 7,
    "seconds": 0.1,
    "rows": {"a": [{"arm": "ticket", "train_loss": 0.1, "val_loss": math.inf}], KEY: []},
    "readings": {"a": [], KEY: []},
}
TENSORS = {"params/w": torch.rand(3, 4, 5).mT, "optimizer/0/step": torch.tensor(7.0), "buffers/n": torch.arange(3)}


@pytest.fixture
def path(tmp_path):
    """Write a checkpoint and return its path."""
    save_checkpoint(tmp_path, "stack", FACTS, TENSORS)
    return tmp_path / ".stacks/stack.safetensors"


def test_a_checkpoint_comes_back_as_it_was(tmp_path, path):
    facts, tensors = load_checkpoint(tmp_path, "stack")
    assert facts == FACTS
    assert list(facts["rows"]) == list(FACTS["rows"])
    assert set(tensors) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert torch.equal(tensors[name], tensor)
        assert tensors[name].dtype == tensor.dtype
    assert load_checkpoint(tmp_path, "other") is None


def test_a_checkpoint_with_rows_that_are_nan_comes_back(tmp_path):
    save_checkpoint(tmp_path, "stack", FACTS | {"rows": {KEY: [{"val_loss": math.nan}]}}, {"w": torch.ones(1)})
    facts, _ = load_checkpoint(tmp_path, "stack")
    assert math.isnan(facts["rows"][KEY][0]["val_loss"])


@pytest.mark.parametrize("left", [0, 0.1, 0.5, 0.99, "other"])
def test_a_torn_checkpoint_is_no_checkpoint(tmp_path, path, left):
    path.write_bytes(b"\x00garbage" * 100 if left == "other" else path.read_bytes()[: int(left * path.stat().st_size)])
    with pytest.raises(BrokenFileError):
        load_checkpoint(tmp_path, "stack")


def test_no_bit_of_a_checkpoint_changes_unnoticed(tmp_path, path):
    content, noticed = path.read_bytes(), 0
    bits = range(0, len(content) * 8, 11)
    for bit in bits:
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            facts, tensors = load_checkpoint(tmp_path, "stack")
        except BrokenFileError:
            noticed += 1
        else:
            assert facts == FACTS
            assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())
    assert noticed > 0.9 * len(bits)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_checkpoint_that_is_a_link_is_not_followed(tmp_path, path, kind):
    path = path if kind == "file" else path.parent
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BrokenFileError if kind == "file" else UserError):
        load_checkpoint(tmp_path, "stack")


def test_a_checkpoint_of_another_version_is_no_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr("ltsweep.store.checkpoints.VERSION", 99)
    save_checkpoint(tmp_path, "stack", FACTS, TENSORS)
    monkeypatch.undo()
    with pytest.raises(BrokenFileError, match="is of version 99"):
        load_checkpoint(tmp_path, "stack")
