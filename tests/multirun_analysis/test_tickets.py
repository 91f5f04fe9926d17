"""Tensors are those of the files, as another reader of safetensors and bits gives them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

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


def test_what_is_missing_or_torn_is_nothing(write_cell: Callable[..., str], tmp_path: Path) -> None:
    cell = tmp_path / "made_up" / write_cell(levels=1, epochs=1, tickets=True)
    assert tickets.masks(cell, 9) == {}
    assert tickets.has_initial_weights(cell)
    torn = cell / "tickets" / "init.safetensors"
    torn.write_bytes(torn.read_bytes()[:500])
    assert not tickets.has_initial_weights(cell)
    assert list(tickets.initial_weights(cell)) == []
