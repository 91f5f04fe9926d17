"""What a stack is reckoned to take, against what the operating system says that it took."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils._pytree import tree_leaves

from ltsweep.engine.replay import Tape
from ltsweep.engine.stack import ACTIVATIONS, Forward, Network
from ltsweep.grid.cell import from_config
from ltsweep.models import lstm
from ltsweep.run.build import make
from ltsweep.run.hardware import free_bytes
from ltsweep.run.memory import evaluation_bytes, held_bytes, network_bytes, networks_cached, networks_in
from ltsweep.run.packing import largest_stack

# Trains, scores and prunes stacks of so many networks on random examples or games; prints the most memory after each.
PEAKS = """
import re, sys, torch
from ltsweep.grid import cell
from pathlib import Path
from ltsweep.run.build import input_dtype, load_data, member_of, program_of
from ltsweep.data import Dataset
from ltsweep.lottery.loop import run_levels
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
torch.set_num_threads(1)
cell.register_resolver()
few, many = map(int, sys.argv[1:3])
with initialize_config_module("ltsweep.conf", version_base="1.3"):
    config = compose("config", ["levels=1", "iterations=2", "validation=0", *sys.argv[3:]])
    cells = [cell.from_config(OmegaConf.merge(config, {"seed": seed})) for seed in range(many)]
dataset = cells[0].config["dataset"]
x = (torch.rand(120, *dataset["input_shape"]) * 10).to(input_dtype(cells[0].config))
y = torch.randint(10, (120, *dataset.get("label_shape", ())))
problem = Dataset(x, y, x[:10], y[:10])
if "environment" in dataset:
    (problem,) = load_data(cells[:1], Path()).values()
program = program_of(cells[0], problem, torch.device("cpu"), 0.0)
for number in (few, many):
    for _ in run_levels(program, [member_of(cell, program) for cell in cells[:number]], 0):
        pass
    # Not ru_maxrss, in which a process starts with what its parent held.
    print(1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]))
"""


def a_network(few, many, *overrides):
    """Return the bytes by which a stack of many networks takes more than one of few, for each of them."""
    command = [sys.executable, "-c", PEAKS, str(few), str(many), *overrides]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    peaks = list(map(int, said.split()))
    return (peaks[1] - peaks[0]) / (many - few)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read the peak from")
@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("dataset=digits", "model=lenet5"),
        ("dataset=digits", "model=mlp", "model.dropout=0.5"),
        ("dataset=cartpole", "dataset.episodes=10", "model=mlp", "model.hidden=[128,128,128]", "batch_size=128"),
    ],
)
def test_the_formula_is_what_a_network_takes(compose, overrides):
    reckoned = network_bytes(from_config(compose(*overrides)), "cpu")
    assert 0.6 * reckoned < a_network(8, 24, *overrides) < 1.15 * reckoned


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read the peak from")
@pytest.mark.parametrize(
    "overrides",
    [
        ("dataset=tiny_shakespeare", "model=lstm", "dataset.context=24", "batch_size=20"),
        ("dataset=tiny_shakespeare", "model=transformer", "model.layers=2", "dataset.context=24", "batch_size=20"),
    ],
    ids=["lstm", "transformer"],
)
def test_the_formula_is_what_a_model_of_texts_takes(compose, overrides):
    """Of an unrolled LSTM each step's gates are held, and a gradient of its recurrent weights."""
    reckoned = network_bytes(from_config(compose(*overrides)), "cpu")
    assert 0.6 * reckoned < a_network(2, 6, *overrides, "evaluate_train=false", "validation=0") < 1.15 * reckoned


def test_ten_thousand_words_are_scored_in_batches_that_fit():
    """35 tokens have 350,000 logits a network, of which so many are made at once as fit into the bound."""
    with torch.device("meta"):
        model = lstm((35,), 10_000, embedding=4, hidden=4)
    for networks, at_once in ((1, 5), (2, 2), (6, 1)):
        weights = {"any": torch.empty(networks, 1)}
        forward = Forward(Network(model), weights, {}, training=False)
        assert forward.at_once(torch.zeros(1, 35, dtype=torch.int64)) == at_once
        assert at_once * networks * 350_000 <= 1.01 * ACTIVATIONS["cpu"]


@pytest.mark.parametrize("name", ["lstm", "transformer"])
def test_a_recorded_evaluation_holds_what_is_reckoned(compose, name):
    """All tensors of the tape of one batch."""
    cell = from_config(compose("dataset=tiny_shakespeare", f"model={name}", "dataset.context=32"))
    model = make(cell.config, "model")
    weights = {place: value[None] for place, value in model.named_parameters()}
    forward = Forward(Network(model), weights, {}, training=False)
    tokens = torch.zeros(1, 32, dtype=torch.int64)
    with torch.no_grad(), Tape() as tape:
        forward(tokens.expand(forward.at_once(tokens), -1), shared=True)
    storages = [leaf.untyped_storage() for leaf in tree_leaves(tape._kept) if isinstance(leaf, torch.Tensor)]
    held = sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
    assert 0.6 * evaluation_bytes(cell, "cpu") < held < 1.15 * evaluation_bytes(cell, "cpu")


def test_every_part_is_counted(compose):
    """266,610 parameters, 266,200 of them prunable, 235,200 in the largest layer; Adam keeps two numbers for each."""
    held, layer = 266_610 * 4 + 266_200, 8 * 235_200
    assert network_bytes(from_config(compose()), "cuda") == 4 * (held + 266_610 + layer)
    assert network_bytes(from_config(compose()), "cpu") == 4 * (held + layer + 2 * 266_610 + 2 * 266_200)
    sgd = from_config(compose("optimizer=sgd", "optimizer.momentum=0"))
    assert network_bytes(sgd, "cuda") == 4 * (held - 2 * 266_610 + 266_610 + layer)
    popup = from_config(compose("method=edge_popup"))
    assert network_bytes(popup, "cuda") == 4 * (held + 3 * 266_200 + 266_610 + layer)
    # 784 numbers, flattened to as many; then 300 and 100, twice, for the layer and its activation; 10, and the loss.
    large = from_config(compose("batch_size=5000"))
    batch = 5000 * (784 + 3 * (784 + 784 + 300 + 300 + 100 + 100 + 10 + 10))
    assert network_bytes(large, "cuda") == 4 * (held + 266_610 + batch)


def test_a_stack_is_as_large_as_pays_and_fits(compose):
    cell = from_config(compose())
    one, evaluation = network_bytes(cell, "cuda"), 12 * ACTIVATIONS["cuda"]
    assert networks_in(cell, "cuda", (evaluation + 5.5 * one) / 0.8) == 5
    assert networks_in(cell, "cuda", 0) == 1
    assert largest_stack(cell, "cuda") == largest_stack(cell, "cuda", 1e12) == 128
    assert largest_stack(cell, "cuda", (evaluation + 5.5 * one) / 0.8) == 5
    assert largest_stack(from_config(compose("dataset=digits", "~model.largest_stack")), "cpu", 1e12) == 8


def test_a_cpus_stack_stays_in_its_caches(compose):
    """12 MB hold two LeNet-300-100: 266,610 parameters four times over (Adam keeps two numbers for each), and masks."""
    assert held_bytes(from_config(compose())) == 4 * (4 * 266_610 + 266_200)
    assert networks_cached(from_config(compose())) == largest_stack(from_config(compose()), "cpu", 1e12) == 2
    assert networks_cached(from_config(compose("optimizer=sgd", "optimizer.momentum=0"))) == 3
    assert largest_stack(from_config(compose("dataset=digits")), "cpu", 1e12) == 8
    assert largest_stack(from_config(compose("model=lenet5")), "cpu", 1e12) == 1
    assert largest_stack(from_config(compose("model=lenet5")), "cuda", 1e12) == 32


def test_free_memory_is_the_devices_own():
    free = free_bytes(torch.device("cpu"))
    assert 0 < free < 2**50


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_formula_holds_on_a_gpu(compose):
    from ltsweep.data import Dataset
    from ltsweep.lottery.loop import run_levels
    from ltsweep.run.build import member_of, program_of

    cells = [from_config(compose(f"seed={seed}", "levels=1", "iterations=2", "validation=0")) for seed in range(64)]
    x, y = torch.rand(2000, 1, 28, 28), torch.arange(2000) % 10
    device = torch.device("cuda")
    program = program_of(cells[0], Dataset(x, y, x[:10], y[:10]), device, 0.0)
    torch.cuda.reset_peak_memory_stats(device)
    for _ in run_levels(program, [member_of(cell, program) for cell in cells], 0):
        pass
    assert torch.cuda.max_memory_allocated(device) < 64 * network_bytes(cells[0], "cuda") + 12 * ACTIVATIONS["cuda"]
