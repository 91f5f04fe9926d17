"""torchrun: two processes train one cell on pictures in folders, and one of them writes its records."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

LINE = (
    "dataset=imagenet", "dataset.root=pictures", "dataset.size=8", "dataset.resize=9", "dataset.num_classes=2",
    "dataset.decoders=0", "data_dir=.", "model=conv2", "model.channels=[4]", "model.hidden=[]", "device=cpu",
    "validation=4", "batch_size=6", "epochs=2", "evaluate_every=4", "levels=1", "optimizer=sgd", "lr=0.05",
    "method.rewind=weights",
)  # fmt: skip


@pytest.fixture
def pictures(tmp_path):
    """Write 20 + 6 pictures in two classes."""
    for number in range(26):
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 128, (12, 10, 3), dtype=np.uint8) + np.uint8(100 * (number % 2))
        path = tmp_path / "pictures" / ("train" if number < 20 else "val") / f"n{number % 2}" / f"{number}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


@pytest.mark.slow
def test_two_processes_train_one_cell_as_one_does_and_write_it_once(command, pictures):
    """Of 16 examples an epoch has batches of 6, 6 and 4."""
    command.inside(*LINE, "study=alone")
    torchrun = ("--standalone", "--nproc-per-node=2", "-m", "ltsweep", *LINE)
    ended = command.wait(command.fork(command.folder, "torch.distributed.run", *torchrun))
    assert ended.code == 0, ended.err
    assert ended.out.count("1 cell, 1 to compute") == ended.out.count("1 done") == 1
    command.study().assert_same_records(command.study("alone"), tolerance=1e-5)
    (one,), (other,) = (command.study(name).cells().values() for name in ("default", "alone"))
    assert one.log.count("level  1  remaining") == one.log.count("level  0  remaining") == 1
    assert len(one.evaluations) == len(other.evaluations)
    assert one.status["hardware"]["processes"] == 2
    assert "processes" not in other.status["hardware"]
    (kept,) = [name for name in one.status["files"] if name.startswith("tickets/weights_00_")]
    both = [load_file(cell.path / kept) for cell in (one, other)]
    assert both[0].keys() == both[1].keys()
    for name, value in both[0].items():
        torch.testing.assert_close(value, both[1][name], rtol=1e-4, atol=1e-5)
