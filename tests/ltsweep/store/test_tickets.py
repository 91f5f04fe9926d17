import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from safetensors.numpy import load_file

from ltsweep.store.tickets import pack, unpack


def written(path, masks):
    path.write_bytes(pack(masks))
    return path


@given(
    st.dictionaries(
        st.sampled_from(["fc1.weight", "conv1.weight", "output.weight", "a", "z"]),
        npst.arrays("float32", npst.array_shapes(min_dims=1, max_dims=4, max_side=7), elements=st.sampled_from([0, 1])),
        min_size=1,
    )
)
def test_masks_come_back_as_they_were(tmp_path_factory, masks):
    loaded = unpack(written(tmp_path_factory.mktemp("masks") / "level_01.safetensors", masks))
    assert set(loaded) == set(masks)
    for name, mask in masks.items():
        assert loaded[name].dtype == bool
        assert loaded[name].shape == mask.shape
        assert (loaded[name] == mask).all()


@pytest.mark.parametrize("shape", [(1,), (8,), (9,), (300, 784), (3, 5, 7)])
def test_a_mask_takes_one_bit_a_weight(shape):
    content = pack({"w": np.random.default_rng(0).random(shape) < 0.5})
    (header,) = struct.unpack("<Q", content[:8])
    assert header < 300
    assert len(content) - 8 - header == math.ceil(math.prod(shape) / 8)


def test_the_first_weight_is_the_highest_bit(tmp_path):
    mask = np.array([[1.0, 0, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0]])
    path = written(tmp_path / "mask.safetensors", {"w": mask})
    assert load_file(path)["w"].tolist() == [0b10000011, 0b10000000]


def test_masks_are_those_of_any_layout_in_memory():
    mask = np.random.default_rng(0).random((6, 5)) < 0.5
    assert pack({"w": np.asfortranarray(mask)}) == pack({"w": mask})


def test_loaded_masks_keep_the_order_of_the_layers(tmp_path):
    """Ties in global pruning go by position over all layers, so a resumed cell must see them in the same order."""
    for i in range(5):
        names = [f"layer{(7 * i + 3 * j) % 10}.weight" for j in range(10)]
        assert len(set(names)) == 10
        assert list(unpack(written(tmp_path / "masks.safetensors", {name: np.ones(2) for name in names}))) == names
