"""The ImageNet-sized networks of torchvision: counted layer by layer, and one of them trained and gone on with."""

import copy
import math
import re
from pathlib import Path

import pytest
import torch

from ltsweep.data import Examples
from ltsweep.grid.cell import from_config
from ltsweep.lottery.loop import run_levels
from ltsweep.lottery.program import Checkpoint, LevelDone
from ltsweep.prune import layers_of
from ltsweep.run.build import check_configs, check_outputs, make, member_of, program_of, prunable_layers
from ltsweep.run.memory import network_bytes
from ltsweep.run.packing import largest_stack
from ltsweep.store.checkpoints import load_checkpoint, save_checkpoint

PAGE = Path(__file__).parents[3] / "docs" / "networks.md"

# Name -> blocks of each stage, and the channels of the first stage's 3x3 convolutions; those of its output are 256.
NETWORKS = {"resnet50": ([3, 4, 6, 3], 64), "resnet101": ([3, 4, 23, 3], 64), "wide_resnet50": ([3, 4, 6, 3], 128)}


def by_hand(name, classes):
    """Return layer -> prunable weights, as one writes them down from table 1 of He et al. 2016."""
    blocks, middle = NETWORKS[name]
    found, inputs = {"conv1": 3 * 64 * 49}, 64
    for stage, count in enumerate(blocks):
        width, outputs = middle * 2**stage, 256 * 2**stage
        for block in range(count):
            place = f"layer{stage + 1}.{block}"
            found |= {
                f"{place}.conv1": inputs * width,
                f"{place}.conv2": width * width * 9,
                f"{place}.conv3": width * outputs,
            }
            if block == 0:
                found[f"{place}.downsample.0"] = inputs * outputs
            inputs = outputs
    return found | {"fc": inputs * classes}


@pytest.mark.parametrize("name", NETWORKS)
def test_each_composes_is_built_counted_and_reckoned_without_memory(compose, name):
    cells = [
        from_config(compose(f"model={name}", "dataset=imagenet", f"method={one}")) for one in ("imp", "edge_popup")
    ]
    check_configs(cells)
    check_outputs(cells)
    cell = cells[1]
    with torch.device("meta"):
        model = make(cell.config, "model")
    layers = prunable_layers(cell.config, model)
    found = {layer.name.removesuffix(".weight"): math.prod(layer.shape) for layer in layers}
    assert found == by_hand(name, 1000)
    assert [layer.name for layer in layers if layer.kind == "output"] == ["fc.weight"]
    total = sum(found.values())
    (row,) = re.findall(rf"^\| `{name}`.*$", PAGE.read_text(), re.MULTILINE)
    ten = sum(by_hand(name, 10).values())
    assert re.findall(r"\| ([\d,]+) (?=\|)", row) == [f"{n:,}" for n in (total, total - found["fc"], ten)]
    assert network_bytes(cell, "cuda") > 3 * 4 * total
    assert largest_stack(cell, "cuda") == largest_stack(cell, "cpu") == 1


@pytest.mark.slow
def test_resnet_50_takes_steps_and_goes_on_from_a_checkpoint_with_the_same_bits(compose, tmp_path):
    """Masks are learned over its frozen weights; the picture is as small as it can be."""
    shape, device = (3, 32, 32), torch.device("cpu")
    rng = torch.Generator().manual_seed(0)
    pictures = [torch.randn(2, *shape, generator=rng) for _ in range(2)]
    data = Examples(pictures[0], torch.arange(2), pictures[1], torch.arange(2))
    cell = from_config(
        compose(
            "model=resnet50", "dataset=digits", "dataset.input_shape=[3,32,32]", "method=edge_popup",
            "method.remaining=[0.3]", "optimizer=sgd", "levels=1", "iterations=2", "batch_size=2", "validation=0",
            "evaluate_train=false", "init=signed_constant",
        )
    )  # fmt: skip
    program = program_of(cell, data, device, 0.0, done={"ticket/0": 0})  # level 1 alone
    member = member_of(cell, program)
    events = run_levels(program, [member], 1)
    checkpoint = next(event for event in events if isinstance(event, Checkpoint))
    assert checkpoint.step == 1
    facts = {"level": 1, "arms": ["ticket/0"], "step": 1, "seconds": 0.0, "rows": {}, "readings": {}}
    save_checkpoint(tmp_path, "stack", facts, checkpoint.tensors)
    tables = copy.deepcopy(checkpoint.tables)
    expected = next(event for event in events if isinstance(event, LevelDone))
    _, tensors = load_checkpoint(tmp_path, "stack")
    again = Checkpoint(1, checkpoint.arms, 1, 0.0, tables, tensors)
    found = next(event for event in run_levels(program, [member], 1, again) if isinstance(event, LevelDone))
    assert all(torch.equal(mask, expected.learned[name]) for name, mask in found.learned.items())
    assert found.summaries[0]["final_test_loss"] == expected.summaries[0]["final_test_loss"]
    counts = dict(zip(found.summaries[0]["layers"], found.summaries[0]["layer_remaining"], strict=True))
    assert {name: int(mask.sum()) for name, mask in found.learned.items()} == counts
    whole = {layer.name: math.prod(layer.shape) for layer in layers_of(program.model)}
    assert all(counts[name] == pytest.approx(0.3 * size, abs=1) for name, size in whole.items())
