"""Seconds per epoch per run: loops a user would write beside ours, interleaved, in one run on one machine.

    make bench                                    prints the tables and writes benchmarks/results/<processor>.md

Every loop trains LeNet-300-100 on MNIST, 55,000 examples in batches of 60, Adam at 1.2e-3, and scores the test set once
an epoch. "Two at once" is two processes of one thread, their time halved: what two cores make of two runs. A round
visits every loop once; the medians over rounds are shown. A loop's steps are timed, and scaled to an epoch of 917.
Memory is the most that one process of a loop held, PyTorch and the data set included. The floor is what the matrix
products and Adam of a step take by themselves, two at once too, by the library that multiplies fastest here.

The second table is of Conv-2 on the same pictures, the third of masks at initialization by SNIP (Lee et al. 2019), on
100 examples at 10 % of the weights: a loop over networks with stock autograd beside a stack of ours.

The last table is what the command costs beside training, measured on scikit-learn's digits in a folder of its own.
"""

import argparse
import dataclasses
import multiprocessing
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Subset, TensorDataset

from ltsweep.data import Dataset, torchvision_mnist
from ltsweep.engine import gemm
from ltsweep.engine import train as train_module
from ltsweep.engine.look import Look, Stage
from ltsweep.engine.problem import Draws
from ltsweep.engine.stack import Network, Tensors
from ltsweep.engine.train import Group, train
from ltsweep.engine.train import scored as scored_networks
from ltsweep.engine.trained import MaskedWeights, Trained
from ltsweep.init import draw, xavier_normal
from ltsweep.method import TICKET, AtInit, EdgePopup, Past
from ltsweep.models import conv, lenet_300_100
from ltsweep.optim import constant
from ltsweep.run.hardware import cores, hardware
from ltsweep.run.workers import prepare_process

BATCH, EXAMPLES, RATE = 60, 55_000, 1.2e-3
STEPS_AN_EPOCH = -(-EXAMPLES // BATCH)
STACK = 2  # networks, what ltsweep takes here by itself
MODELS = {"lenet": lambda: lenet_300_100((1, 28, 28), 10), "conv2": lambda: conv((1, 28, 28), 10, [64], [256, 256])}
SPARSE, SCORED = 0.1, 100  # share of the weights that a mask at initialization leaves, examples that score them


@dataclass(frozen=True)
class Cost:
    """Seconds of an epoch of one run, and the bytes that the process held at most."""

    seconds: float
    memory: int


@dataclass(frozen=True)
class Floor:
    """Seconds of an epoch of one run, floating-point operations a second of its products, and of large ones."""

    seconds: float
    rate: float
    peak: float


def peak_memory() -> int:
    """Return the most bytes that this process ever held; Linux alone counts them without those of its parent."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def user_loop(loader: DataLoader, test: tuple[torch.Tensor, torch.Tensor], steps: int) -> float:
    """Return the seconds of an epoch of the loop in torch's tutorials: zero_grad, forward, backward, step."""
    model = lenet_300_100((1, 28, 28), 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    began = time.perf_counter()
    for number, (x, y) in enumerate(loader):
        if number == 10:  # workers are up, caches warm
            began = time.perf_counter()
        if number == steps + 10:
            break
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
    trained = (time.perf_counter() - began) / steps * STEPS_AN_EPOCH
    began = time.perf_counter()
    with torch.no_grad():
        for x, y in DataLoader(TensorDataset(*test), batch_size=1000):
            (model(x).argmax(1) == y).sum().item()
    return trained + time.perf_counter() - began


def tensor_dataset(data: Dataset, threads: int, steps: int) -> float:
    """Data as tensors in memory behind a DataLoader without workers."""
    torch.set_num_threads(threads)
    train_set = TensorDataset(data.inputs(data.train_x[:EXAMPLES]), data.train_y[:EXAMPLES])
    test = data.inputs(data.test_x), data.test_y
    return user_loop(DataLoader(train_set, batch_size=BATCH, shuffle=True), test, steps)


def in_memory(data: Dataset, steps: int, model_name: str) -> float:
    """Return the seconds of an epoch of a careful loop: batches gathered from memory, fused Adam, masks applied."""
    model = MODELS[model_name]()
    return careful(model, [(p.data, torch.ones_like(p)) for p in model.parameters() if p.dim() > 1], data, steps)


def careful(model: torch.nn.Module, masks: list[tuple[torch.Tensor, torch.Tensor]], data: Dataset, steps: int) -> float:
    """Return the seconds of an epoch of training and a look at the test set. masks: pairs of a weight and its mask."""
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=RATE, fused=True)
    train_x, test_x = data.inputs(data.train_x), data.inputs(data.test_x)
    order = torch.randperm(EXAMPLES).repeat(2 + steps // STEPS_AN_EPOCH).split(BATCH)
    for number, index in zip(range(steps + 10), order, strict=False):
        if number == 10:
            began = time.perf_counter()
        loss = cross_entropy(model(train_x.index_select(0, index)), data.train_y.index_select(0, index))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if masks:
            torch._foreach_mul_([weight for weight, _ in masks], [mask for _, mask in masks])
    trained = (time.perf_counter() - began) / steps * STEPS_AN_EPOCH
    began = time.perf_counter()
    with torch.no_grad():
        for x, y in zip(test_x.split(1000), data.test_y.split(1000), strict=True):
            (model(x).argmax(1) == y).sum().item()
    return trained + time.perf_counter() - began


class Popup(torch.nn.Linear):
    """A layer of edge-popup as its authors write it: of frozen weights the half with the highest scores, by sorting."""

    def __init__(self, *size: int) -> None:
        super().__init__(*size)
        self.scores = torch.nn.Parameter(torch.empty_like(self.weight))
        torch.nn.init.kaiming_uniform_(self.scores, a=5**0.5)
        self.weight.requires_grad_(False)
        self.bias.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x, self.weight * Half.apply(self.scores.abs()), self.bias)


class Half(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, scores: torch.Tensor) -> torch.Tensor:
        mask = scores.clone()
        _, order = scores.flatten().sort()
        half = scores.numel() // 2
        mask.flatten()[order[:half]] = 0
        mask.flatten()[order[half:]] = 1
        return mask

    @staticmethod
    def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


def popup_by_sorting(data: Dataset, steps: int) -> float:
    """Return the seconds of an epoch of edge-popup in a careful loop: batches gathered from memory, fused Adam."""
    model = torch.nn.Sequential(
        torch.nn.Flatten(), Popup(784, 300), torch.nn.ReLU(), Popup(300, 100), torch.nn.ReLU(), Popup(100, 10)
    )
    return careful(model, [], data, steps)


def transforms(data: Dataset, folder: str, steps: int) -> float:
    """torchvision's data set and transforms behind a DataLoader with two workers."""
    from torchvision import datasets
    from torchvision import transforms as t

    pipeline = t.Compose([t.ToTensor(), t.Normalize((0.1307,), (0.3081,))])
    train_set = Subset(datasets.MNIST(folder, transform=pipeline), range(EXAMPLES))
    loader = DataLoader(train_set, batch_size=BATCH, shuffle=True, num_workers=2)
    return user_loop(loader, (data.inputs(data.test_x), data.test_y), steps)


def stacked(data: Dataset, networks: int, groups: int, steps: int, scored: str, without: str, model_name: str) -> float:
    """Return the seconds of an epoch of one run in a stack of ours, on one thread.

    scored: once an epoch, `nothing`, the `test` set, or `all`, the training set too. without: `nothing`, `replay`, or
    `both`, that is replaying and the choice of the library that multiplies; or `weights`: scores are trained instead.
    """
    if without in ("replay", "both"):
        train_module.replayed = train_module.as_written
    if without == "both":
        gemm.by_numpy = lambda: False
    model = MODELS[model_name]()
    network, weights, masks = made(model, networks)
    state = network.stack(weights, masks, torch.device("cpu"))
    trained: Trained = MaskedWeights(network)
    if without == "weights":
        method, rates = EdgePopup(), dict.fromkeys(masks[0], 0.5)
        starts = [
            method.start(TICKET, Past(model, xavier_normal, seed, 1, own, mask, rates=rates))
            for seed, (own, mask) in enumerate(zip(weights, masks, strict=True))
        ]
        state = network.stack(weights, [s[1] for s in starts], torch.device("cpu"), scores=[s[3] for s in starts])
        trained = method.trained(network, 1, [rates] * networks)
    part = Dataset(data.train_x[:EXAMPLES], data.train_y[:EXAMPLES], data.test_x[:1], data.test_y[:1])
    order = part.batches([Draws(seed, 0, 0, 1) for seed in range(networks)], BATCH)
    size = networks // groups
    by_rate = [
        Group(slice(g * size, (g + 1) * size), partial(constant, value=RATE * (1 + g)), {"weight_decay": 0.0})
        for g in range(groups)
    ]
    loop = train(network, trained, state, part, order, partial(torch.optim.Adam, fused=True), by_rate, steps + 10)
    for _ in range(10):
        next(loop)
    began = time.perf_counter()
    for _ in loop:
        pass
    took = (time.perf_counter() - began) / steps * STEPS_AN_EPOCH
    if scored == "nothing":
        return took / networks
    part = data if scored == "all" else Dataset(data.train_x[:1], data.train_y[:1], data.test_x, data.test_y)
    cells = [Draws(seed, 0, 0, 1) for seed in range(networks)]
    began = time.perf_counter()
    part.evaluate(scored_networks(network, trained, state), {}, cells)
    return (took + time.perf_counter() - began) / networks


def made(model: torch.nn.Module, networks: int) -> tuple[Network, list[Tensors], list[Tensors]]:
    """Return the program of some networks, the initial weights of each, and dense masks."""
    weights = [draw(model, xavier_normal, seed, "init") for seed in range(networks)]
    masks = [{name: torch.ones_like(value) for name, value in w.items() if value.dim() > 1} for w in weights]
    return Network(model), weights, masks


def snip_alone(data: Dataset, networks: int) -> float:
    """Return the seconds of a SNIP mask by a loop over networks: stock autograd, one threshold over all layers."""
    began = time.perf_counter()
    for _ in range(networks):
        model = MODELS["lenet"]()
        index = torch.randperm(EXAMPLES)[:SCORED]
        loss = cross_entropy(model(data.inputs(data.train_x[index])), data.train_y[index])
        weights = [weight for weight in model.parameters() if weight.dim() > 1]
        scores = [(w * g).abs() for w, g in zip(weights, torch.autograd.grad(loss, weights), strict=True)]
        flat = torch.cat([score.flatten() for score in scores])
        threshold = flat.kthvalue(flat.numel() - round(SPARSE * flat.numel())).values
        [(score > threshold).float() for score in scores]
    return (time.perf_counter() - began) / networks


def snip_stacked(data: Dataset, networks: int) -> float:
    """Return the seconds of a SNIP mask of one network, of a stack of ours, its weights drawn too."""
    method = AtInit(score="snip", remaining=[SPARSE])
    began = time.perf_counter()
    network, weights, masks = made(MODELS["lenet"](), networks)
    state = network.stack(weights, masks, torch.device("cpu"))
    stage = Stage(network, data, [Draws(seed, 0, 0, 1) for seed in range(networks)])
    method.prune(Look(0, 0, state, weights, stage), [dict.fromkeys(state.masks, 0.2)] * networks)
    return (time.perf_counter() - began) / networks


def floor(networks: int, repeats: int) -> Floor:
    """Return what an epoch of one run would cost were there only its matrix products and Adam, on one thread."""

    def timed(action: Callable[[], object]) -> float:
        times = []
        for _ in range(repeats + 3):
            began = time.perf_counter()
            action()
            times.append(time.perf_counter() - began)
        return statistics.median(times[3:])

    seconds, operations = 0.0, 0
    for first, (inputs, outputs) in enumerate([(784, 300), (300, 100), (100, 10)]):
        x, w = torch.rand(networks, BATCH, inputs), torch.rand(networks, inputs, outputs)
        g, y = torch.rand(networks, BATCH, outputs), torch.empty(networks, BATCH, outputs)
        products = [(x, w, y), (x.mT, g, torch.empty_like(w))]
        if first > 0:  # the first layer's inputs need no gradient
            products.append((g, w.mT, torch.empty_like(x)))
        for product in products:
            seconds += timed(gemm.bound(*product))
            operations += 2 * networks * BATCH * inputs * outputs
    weights = torch.rand(networks, 266_610)
    weights.grad = torch.rand_like(weights)
    adam = timed(torch.optim.Adam([weights], fused=True).step)
    large = [torch.rand(1, 1024, 1024) for _ in range(3)]
    peak = 2 * 1024**3 / timed(gemm.bound(*large))
    return Floor((seconds + adam) / networks * STEPS_AN_EPOCH, operations / seconds, peak)


def _child(loop: str, folder: str, steps: int, start: "multiprocessing.Barrier", out: "multiprocessing.Queue") -> None:
    name, *arguments = loop.split()
    if name in ("stacked", "snip", "floor") or start.parties > 1:
        prepare_process()
    data = torchvision_mnist(Path(folder), "MNIST")
    start.wait()
    if name == "floor":
        found = floor(STACK, steps)
        out.put(dataclasses.replace(found, seconds=found.seconds / start.parties))
        return
    if name == "stacked":
        seconds = stacked(data, int(arguments[0]), int(arguments[1]), steps, *arguments[2:])
    elif name == "in_memory":
        seconds = in_memory(data, steps, arguments[0])
    elif name == "snip":
        find = {"alone": snip_alone, "stacked": snip_stacked}[arguments[0]]
        find(data, steps)  # warms up
        seconds = find(data, steps)
    elif name == "popup_by_sorting":
        seconds = popup_by_sorting(data, steps)
    elif name == "transforms":
        seconds = transforms(data, folder, steps)
    else:
        seconds = tensor_dataset(data, 1 if start.parties > 1 else cores(), steps)
    out.put(Cost(seconds / start.parties, peak_memory()))


def in_processes(loop: str, processes: int, folder: str, steps: int) -> list[Cost] | list[Floor]:
    """Return what `loop` costs a run, as each of so many processes of it side by side finds."""
    context = multiprocessing.get_context("spawn")
    start, out = context.Barrier(processes), context.Queue()
    children = [context.Process(target=_child, args=(loop, folder, steps, start, out)) for _ in range(processes)]
    for child in children:
        child.start()
    found = [out.get() for _ in children]
    for child in children:
        child.join()
    return found


def command_seconds(folder: Path, *arguments: str) -> float:
    """Return the seconds that `python -m ltsweep` takes from its start to its end."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "ltsweep", *arguments]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def commands(cells: int, rounds: int) -> dict[str, float]:
    """Return what the command costs beside training: medians of seconds."""
    small = ("dataset=digits", "levels=0", "iterations=1")
    grid = ("-m", *small, f"seed=range({cells})", "study=grid")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = command_seconds(folder, *grid)
        asked = {
            "--help": ("--help",),
            "one cell of one step": ("-m", *small, "study=one", "force=true"),
            f"{cells:,} finished cells, the same command again": grid,
        }
        found = {
            what: statistics.median(command_seconds(folder, *a) for _ in range(rounds)) for what, a in asked.items()
        }
    return found | {f"{cells:,} cells of one step, all that is not training": first}


def against(medians: dict[str, float], prefix: str, scale: float) -> list[str]:
    """Return the rows of a table of some loops: their times, and against the first of them."""
    found = {name.removeprefix(prefix): value for name, value in medians.items() if name.startswith(prefix)}
    first = next(iter(found.values()))
    return [f"| {name} | {scale * value:.2f} | {first / value:.2f}x |" for name, value in found.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", default=os.environ.get("LTSWEEP_DATA", "data"), help="the folder that holds MNIST/raw"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300, help="steps timed of each loop")
    parser.add_argument("--cells", type=int, default=1000, help="cells of the grid that the command is timed on")
    parser.add_argument("--out", type=Path, help="where to write the tables; by default they are only printed")
    options = parser.parse_args()
    folder, steps = options.data, options.steps
    torch.set_flush_denormal(True)
    peer = "TensorDataset + DataLoader, two at once"
    step = f"ltsweep, {STACK} a stack, two at once, without scoring"
    loops: dict[str, tuple[str, int, int]] = {
        "DataLoader with torchvision transforms, 2 workers": ("transforms", 1, steps),
        f"TensorDataset + DataLoader, {cores()} threads": ("tensor_dataset", 1, steps),
        peer: ("tensor_dataset", 2, steps),
        "data in memory, a careful loop, two at once": ("in_memory lenet", 2, steps),
    }
    for networks in (1, 2, 4, 8, 16, 32):
        loops[f"ltsweep, {networks} a stack, two at once"] = (
            f"stacked {networks} 1 test nothing lenet",
            2,
            max(20, steps // networks),
        )
    share = max(20, steps // STACK)
    for what, loop in {
        f"ltsweep, {STACK} a stack, 2 learning rates, two at once": f"stacked {STACK} 2 test nothing lenet",
        f"ltsweep, {STACK} a stack, training set scored too, two at once": f"stacked {STACK} 1 all nothing lenet",
        step: f"stacked {STACK} 1 nothing nothing lenet",
        "the same, run as written": f"stacked {STACK} 1 nothing replay lenet",
        "the same, run as written, products by PyTorch": f"stacked {STACK} 1 nothing both lenet",
    }.items():
        loops[what] = (loop, 2, share)
    loops["edge-popup as its authors write it, data in memory, two at once"] = ("popup_by_sorting", 2, share)
    loops["ltsweep, edge-popup, 1 a stack, two at once"] = ("stacked 1 1 test weights lenet", 2, steps)
    few = max(10, steps // 10)
    conv: dict[str, tuple[str, int, int]] = {
        "data in memory, a careful loop, two at once": ("in_memory conv2", 2, few),
        "ltsweep, 1 a stack, two at once": ("stacked 1 1 test nothing conv2", 2, few),
        "ltsweep, 2 a stack, two at once": ("stacked 2 1 test nothing conv2", 2, few // 2),
    }
    snip: dict[str, tuple[str, int, int]] = {
        "a loop over networks, two at once": ("snip alone", 2, 16),
        "ltsweep, 16 a stack, two at once": ("snip stacked", 2, 16),
    }
    others = {f"Conv-2: {name}": loop for name, loop in conv.items()}
    others |= {f"SNIP: {name}": loop for name, loop in snip.items()}
    costs: dict[str, list[Cost]] = {name: [] for name in [*loops, *others]}
    floors: list[Floor] = []
    for number in range(options.rounds):
        for name, (loop, processes, timed) in (loops | others).items():
            found = in_processes(loop, processes, folder, timed)
            costs[name].append(Cost(statistics.mean(c.seconds for c in found), max(c.memory for c in found)))
            print(f"round {number + 1}  {costs[name][-1].seconds:7.2f} s  {name}", file=sys.stderr, flush=True)
        floors += in_processes("floor", 2, folder, steps)
    medians = {name: statistics.median(cost.seconds for cost in each) for name, each in costs.items()}
    memory = {name: max(cost.memory for cost in each) for name, each in costs.items()}
    lowest = statistics.median(each.seconds for each in floors)
    rate, peak = (statistics.median(getattr(each, name) for each in floors) / 1e9 for name in ("rate", "peak"))
    machine = hardware(torch.device("cpu"))
    lines = [
        f"# {machine['cpu']}, {machine['cores']} cores",
        "",
        f"torch {torch.__version__}, products by {machine['products']}, Python {platform.python_version()}; medians of "
        f"{options.rounds} interleaved rounds of `benchmarks/throughput.py --steps {steps}`.",
        "LeNet-300-100, MNIST, batch 60, Adam; seconds per epoch per run, the test set scored once an epoch.",
        "",
        "| loop | s / epoch / run | against the fairest peer | memory of a process |",
        "|---|---|---|---|",
        *(
            f"| {name} | {value:.3f} | {medians[peer] / value:.2f}x | {memory[name] / 2**20:,.0f} MiB |"
            for name, value in medians.items()
            if name in loops
        ),
        f"| the floor: matrix products and Adam alone, two at once | {lowest:.3f} | {medians[peer] / lowest:.2f}x | |",
        "",
        f"The fairest peer is: {peer}. A core makes {peak:.0f} GFLOP/s of large products and {rate:.0f} of these. A "
        f"training step in a stack of {STACK} takes {medians[step] / lowest:.2f} times the floor.",
        "",
        "| Conv-2 | s / epoch / run | against the loop |",
        "|---|---|---|",
        *against(medians, "Conv-2: ", 1),
        "",
        "| SNIP masks of LeNet-300-100 | milliseconds a network | against the loop |",
        "|---|---|---|",
        *against(medians, "SNIP: ", 1000),
        "",
        "| command | seconds |",
        "|---|---|",
        *(f"| {what} | {seconds:.1f} |" for what, seconds in commands(options.cells, options.rounds).items()),
    ]
    print("\n".join(lines))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        slug = re.sub(r"[^a-z0-9]+", "-", f"{machine['cpu']} {machine['cores']} cores".lower()).strip("-")
        (options.out / f"{slug}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
