"""Milliseconds of a training step, and the memory, of stacks of several sizes beside a plain loop, on a CPU or a GPU.

    python benchmarks/stacks.py                                     LeNet-300-100 on the first GPU, or the CPU
    python benchmarks/stacks.py --model lenet5 --networks 1 2 4     another model, for the largest_stack of its YAML
    python benchmarks/stacks.py --model lstm --dataset tiny_shakespeare
    python benchmarks/stacks.py --device cuda --networks 1 8 32 128

Random pictures of MNIST's shape, or examples of another data set's, batches of 60, Adam. Rounds interleaved; medians
are shown. "As written" is the same stack without replaying: on a GPU without a CUDA graph. "Reckoned" is what
ltsweep.memory takes a stack to need.
"""

import argparse
import platform
import re
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from hydra import compose, initialize_config_module
from torch.nn.functional import cross_entropy

from ltsweep.data import Dataset
from ltsweep.engine import train as train_module
from ltsweep.engine.problem import Draws
from ltsweep.engine.stack import Network
from ltsweep.engine.train import Group, train
from ltsweep.engine.trained import MaskedWeights
from ltsweep.grid.cell import Cell, from_config, register_resolver
from ltsweep.init import draw, xavier_normal
from ltsweep.optim import constant
from ltsweep.run.build import make
from ltsweep.run.hardware import find_devices, hardware
from ltsweep.run.memory import network_bytes
from ltsweep.run.packing import largest_stack
from ltsweep.run.workers import prepare_process

BATCH, EXAMPLES = 60, 6_000


def wait(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def loop(cell: Cell, data: Dataset, steps: int) -> Iterator[None]:
    """Take so many steps of a stock module with torch's fused Adam."""
    model = make(cell.config, "model").to(data.train_y.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1.2e-3, fused=True)
    for _ in range(steps):
        index = torch.randint(EXAMPLES, (BATCH,), device=data.train_y.device)
        optimizer.zero_grad()
        cross_entropy(model(data.train_x[index]).flatten(0, -2), data.train_y[index].flatten()).backward()
        optimizer.step()
        yield


def stack(cell: Cell, data: Dataset, networks: int, steps: int) -> Iterator[None]:
    """Take so many steps of a stack."""
    model, device = make(cell.config, "model"), data.train_y.device
    network = Network(model, cell.config["precision"])
    weights = [draw(model, xavier_normal, seed, "init") for seed in range(networks)]
    masks = [{name: torch.ones_like(value) for name, value in w.items() if value.dim() > 1} for w in weights]
    state = network.stack(weights, masks, device)
    order = data.batches([Draws(seed, 0, 0, 1) for seed in range(networks)], BATCH)
    groups = [Group(slice(0, networks), partial(constant, value=1.2e-3), {"weight_decay": 0.0})]
    make_optimizer = partial(torch.optim.Adam, fused=True)
    for _ in train(network, MaskedWeights(network), state, data, order, make_optimizer, groups, steps):
        yield


def timed(taken: Iterator[None], device: torch.device, steps: int) -> tuple[float, int]:
    """Return the milliseconds of a step, after ten that are not timed, and the most bytes a GPU held."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    for _ in range(10):
        next(taken)
    wait(device)
    began = time.perf_counter()
    for _ in taken:
        pass
    wait(device)
    took = (time.perf_counter() - began) / steps * 1e3
    return took, torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    parser.add_argument("--model", default="lenet_300_100")
    parser.add_argument("--dataset", default="mnist", help="the data set of whose shapes the random examples are")
    parser.add_argument("--networks", type=int, nargs="+", default=[1, 2, 4, 8], help="stack sizes")
    parser.add_argument("--precision", default="float32", help="float32, tf32, bf16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--steps", type=int, default=100, help="steps timed of each, at most; fewer of large stacks on a CPU"
    )
    parser.add_argument("--out", type=Path, help="where to write the table; by default it is only printed")
    options = parser.parse_args()
    device = find_devices(options.device)[0]
    prepare_process()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = options.precision == "tf32"
    register_resolver()
    with initialize_config_module("ltsweep.conf", version_base="1.3"):
        names = [f"model={options.model}", f"dataset={options.dataset}", f"precision={options.precision}"]
        cell = from_config(compose("config", names))
    dataset = cell.config["dataset"]
    kinds, shape = dataset["num_classes"], (EXAMPLES, *dataset["input_shape"])
    x = torch.randint(kinds, shape) if dataset.get("input_dtype") == "int64" else torch.rand(shape)
    y = torch.randint(kinds, (EXAMPLES, *dataset.get("label_shape", ())))
    data = Dataset(x, y, x[:10], y[:10]).map(lambda tensor: tensor.to(device))
    replayed = train_module.replayed
    ways: dict[str, tuple[int, Callable[..., object], Callable[[int], Iterator[None]]]] = {
        "a plain loop": (1, replayed, lambda steps: loop(cell, data, steps))
    }
    for size in options.networks:
        run = partial(stack, cell, data, size)
        ways[f"{size} a stack"] = (size, replayed, run)
        ways[f"{size} a stack, as written"] = (size, train_module.as_written, run)
    times: dict[str, list[float]] = defaultdict(list)
    held: dict[str, int] = {}
    for number in range(options.rounds):
        for name, (size, way, run) in ways.items():
            train_module.replayed = way
            steps = options.steps if device.type == "cuda" else max(5, options.steps // size)
            took, held[name] = timed(run(steps + 10), device, steps)
            times[name].append(took)
            print(f"round {number + 1}  {took / size:9.4f} ms a step a run  {name}", file=sys.stderr, flush=True)
    medians = {name: statistics.median(each) for name, each in times.items()}
    plain = medians["a plain loop"]
    machine = hardware(device)
    where = str(machine.get("gpu") or f"{machine['cpu']}, one core; products by {machine['products']}")
    one = network_bytes(cell, device.type)
    lines = [
        f"# {options.model} in {options.precision} on {where}",
        "",
        f"torch {torch.__version__}, Python {platform.python_version()}; medians of {options.rounds} rounds. "
        f"By itself ltsweep trains {largest_stack(cell, device.type)} of these as one program here.",
        "",
        "| loop | ms a step | ms a step a run | against the plain loop | held, MiB | reckoned, MiB |",
        "|---|---|---|---|---|---|",
        *(
            f"| {name} | {took:.3f} | {took / ways[name][0]:.4f} | {plain * ways[name][0] / took:.2f}x "
            f"| {held[name] / 2**20 or '':.5} | {one * ways[name][0] / 2**20:.0f} |"
            for name, took in medians.items()
        ),
    ]
    print("\n".join(lines))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        kind = str(machine.get("gpu") or f"{machine['cpu']} {machine['cores']} cores")
        slug = re.sub(r"[^a-z0-9]+", "-", f"{options.model} {options.precision} {kind}".lower()).strip("-")
        (options.out / f"stacks-{slug}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
