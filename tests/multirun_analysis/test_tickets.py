"""Tensors are those of the files, as another reader of safetensors and bits gives them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from ltsweep.errors import BrokenFileError
from multirun_analysis import tickets


def test_initial_weights_are_matrices_in_the_order_of_the_network(
    write_cell: Callable[..., str], tmp_path: Path
) -> None:
    cell = tmp_path / "made_up" / write_cell(levels=1, epochs=1, tickets=True)
    plain = load_file(cell / "tickets" / "init.safetensors")
    found = dict(tickets.initial_weights(cell, ["output.weight", "fc2.weight"]))
    assert list(found) == ["output", "fc2", "fc1"]
    assert all((found[name] == plain[f"{name}.weight"]).all() for name in found)


def test_masks_are_the_bits_of_the_file(write_cell: Callable[..., str], tmp_path: Path) -> None:
    cell = tmp_path / "made_up" / write_cell(levels=2, epochs=1, tickets=True)
    packed = load_file(cell / "tickets" / "level_02.safetensors")
    found = tickets.masks(cell, 2)
    for layer, shape in {"fc1": (300, 784), "fc2": (100, 300), "output": (10, 100)}.items():
        bits = [int(bit) for byte in packed[f"{layer}.weight"] for bit in f"{byte:08b}"][: shape[0] * shape[1]]
        assert found[layer].shape == shape
        assert (found[layer].ravel() == np.array(bits, dtype=bool)).all()
    config = json.loads((cell / "status.json").read_text())
    assert config["level"] == 2


def test_what_is_missing_is_nothing_and_what_is_broken_is_named(
    write_cell: Callable[..., str], seal: Callable[..., None], tmp_path: Path
) -> None:
    cell = tmp_path / "made_up" / write_cell(levels=1, epochs=1, tickets=True)
    assert tickets.masks(cell, 9) == {}
    for name, take in {
        "tickets/init.safetensors": lambda: tickets.initial_weights(cell),
        "tickets/level_01.safetensors": lambda: tickets.masks(cell, 1),
    }.items():
        whole = (cell / name).read_bytes()
        (cell / name).write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        with pytest.raises(BrokenFileError, match=f"{name} does not hold what was written"):
            take()
        (cell / name).unlink()
        with pytest.raises(BrokenFileError, match=f"{name} is missing"):
            take()
        (cell / name).write_bytes(whole)
    (cell / "tickets").rename(tmp_path / "tickets")
    (cell / "tickets").symlink_to(tmp_path / "tickets")
    with pytest.raises(BrokenFileError, match="tickets is a symbolic link"):
        tickets.masks(cell, 1)
    (cell / "tickets").unlink()
    seal(cell, json.loads((cell / "status.json").read_text()))
    assert tickets.initial_weights(cell) == {}
