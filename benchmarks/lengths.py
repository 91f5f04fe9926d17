"""Processor seconds to draw deep networks and measure the length scale of every layer, ours beside a plain loop.

    python benchmarks/lengths.py [--networks 100] [--depths 10 25 50 100] [--data data]

The plain loop builds each network of He-initialized ReLU layers, as wide as deep, from torch's modules, and notes the
mean square of each layer's activations on one picture of MNIST. The stack draws networks from their seeds' streams,
each with its own picture, and measures them in one vmapped forward pass. The command is `+experiment=
how_to_start_training` with one initialization and depth: it starts, checks, loads MNIST, and writes the records of each
network. Seconds are of user and system, of all processes: other programs change them less than those of the clock.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from ltsweep.data import torchvision_mnist
from ltsweep.engine.look import Look, Stage
from ltsweep.engine.problem import Draws
from ltsweep.engine.stack import Network
from ltsweep.init import draw, kaiming_normal
from ltsweep.measure.lengths import Lengths
from ltsweep.models import mlp

PIXELS = 784


def plain(picture: torch.Tensor, networks: int, depth: int) -> torch.Tensor:
    """Return M_0 to M_d of each network, (networks, d + 1), by a loop as one would write it."""
    found = torch.empty(networks, depth + 1)
    with torch.no_grad():
        for number in range(networks):
            torch.manual_seed(number)
            x, inputs = picture.flatten(), PIXELS
            found[number, 0] = x.square().mean()
            for layer in range(1, depth + 1):
                linear = nn.Linear(inputs, depth)
                nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
                nn.init.zeros_(linear.bias)
                x, inputs = torch.relu(linear(x)), depth
                found[number, layer] = x.square().mean()
    return found


def stacked(problem: object, networks: int, depth: int) -> list[object]:
    """Return the readings of one stack."""
    model = mlp((1, 28, 28), 10, [depth], depth=depth)
    initial = [draw(model, partial(kaiming_normal, gain="relu"), seed, "init") for seed in range(networks)]
    network = Network(model)
    state = network.stack(initial, [{} for _ in initial], torch.device("cpu"))
    stage = Stage(network, problem, [Draws(seed, 0, 0, 1) for seed in range(networks)])  # type: ignore[arg-type]
    return list(Lengths()(Look(0, 0, state, initial, stage)))


def timed(do: Callable[[], object]) -> float:
    """Return the processor seconds of a call."""
    began = time.process_time()
    do()
    return time.process_time() - began


def command(networks: int, depth: int, data: Path) -> float:
    """Return the processor seconds of the command and its workers."""
    asked = (f"data_dir={data.absolute()}", "init=he_n", f"model.depth={depth}", f"seed=range(0,{networks})")
    before = os.times()
    with tempfile.TemporaryDirectory() as folder:
        how = [sys.executable, "-m", "ltsweep", "+experiment=how_to_start_training", *asked]
        subprocess.run(how, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=100)
    parser.add_argument("--depths", type=int, nargs="+", default=[10, 25, 50, 100])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LTSWEEP_DATA", "data")))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    problem = torchvision_mnist(asked.data, kind="MNIST", download=False)
    picture = problem.inputs(problem.train_x[:1])
    plain(picture, 2, 10), stacked(problem, 2, 10)  # imports and allocators
    print(f"| depth and width | plain loop | one stack | the command, records and all | ({asked.networks} networks)")
    print("|---|---|---|---|")
    for depth in asked.depths:
        loop = timed(partial(plain, picture, asked.networks, depth))
        stack = timed(partial(stacked, problem, asked.networks, depth))
        print(f"| {depth} | {loop:.2f} | {stack:.2f} | {command(asked.networks, depth, asked.data):.1f} |", flush=True)


if __name__ == "__main__":
    main()
