"""Seconds per epoch per run: loops a user would write beside ours, interleaved, in one run on one machine.

    make bench                                    prints a table and writes benchmarks/results/<processor>.md

Every loop trains LeNet-300-100 on MNIST, 55,000 examples in batches of 60, Adam at 1.2e-3, and scores the test set once
an epoch. "Two at once" is two processes of one thread, their time halved: what two cores make of two runs. A round
visits every loop once; the medians over rounds are shown. A loop's steps are timed, and scaled to an epoch of 917.
"""

import argparse
import multiprocessing
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Subset, TensorDataset

from ltsweep.data import Dataset, torchvision_mnist
from ltsweep.init import draw, xavier_normal
from ltsweep.models import lenet_300_100
from ltsweep.optim import constant
from ltsweep.provenance import hardware
from ltsweep.stack import Network
from ltsweep.train import Group, batches, evaluate, train
from ltsweep.workers import cores, prepare_process

BATCH, EXAMPLES, RATE = 60, 55_000, 1.2e-3
STEPS_AN_EPOCH = -(-EXAMPLES // BATCH)


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
    train_set = TensorDataset(data.train_x[:EXAMPLES], data.train_y[:EXAMPLES])
    return user_loop(DataLoader(train_set, batch_size=BATCH, shuffle=True), (data.test_x, data.test_y), steps)


def transforms(data: Dataset, folder: str, steps: int) -> float:
    """torchvision's data set and transforms behind a DataLoader with two workers."""
    from torchvision import datasets
    from torchvision import transforms as t

    pipeline = t.Compose([t.ToTensor(), t.Normalize((0.1307,), (0.3081,))])
    train_set = Subset(datasets.MNIST(folder, transform=pipeline), range(EXAMPLES))
    loader = DataLoader(train_set, batch_size=BATCH, shuffle=True, num_workers=2)
    return user_loop(loader, (data.test_x, data.test_y), steps)


def stacked(data: Dataset, networks: int, groups: int, steps: int, train_scores: bool) -> float:
    """Return the seconds of an epoch of one run in a stack of ours, on one thread."""
    model = lenet_300_100((1, 28, 28), 10)
    network = Network(model)
    weights = [draw(model, xavier_normal, seed, "init") for seed in range(networks)]
    masks = [{name: torch.ones_like(value) for name, value in w.items() if value.dim() > 1} for w in weights]
    state = network.stack(weights, masks, torch.device("cpu"))
    order = batches(
        [torch.arange(EXAMPLES)] * networks, [torch.Generator().manual_seed(c) for c in range(networks)], 1, BATCH
    )
    size = networks // groups
    rates = [
        Group(slice(g * size, (g + 1) * size), partial(constant, value=RATE * (1 + g)), {"weight_decay": 0.0})
        for g in range(groups)
    ]
    loop = train(network, state, data, order, partial(torch.optim.Adam, fused=True), rates, steps + 10)
    for _ in range(10):
        next(loop)
    began = time.perf_counter()
    for _ in loop:
        pass
    trained = (time.perf_counter() - began) / steps * STEPS_AN_EPOCH
    scored = data if train_scores else Dataset(data.train_x[:1], data.train_y[:1], data.test_x, data.test_y)
    held_out = torch.zeros(networks, len(scored.train_y), dtype=torch.bool)
    began = time.perf_counter()
    evaluate(network, state, scored, held_out)
    return (trained + time.perf_counter() - began) / networks


def floor(networks: int, repeats: int) -> float:
    """Return the seconds an epoch of one run would cost were there only its matrix products and Adam, on one thread."""
    seconds = 0.0

    def timed(action: Callable[[], object]) -> None:
        nonlocal seconds
        action()
        began = time.perf_counter()
        for _ in range(repeats):
            action()
        seconds += (time.perf_counter() - began) / repeats

    for first, (inputs, outputs) in enumerate([(784, 300), (300, 100), (100, 10)]):
        x, w = torch.rand(networks, BATCH, inputs), torch.rand(networks, inputs, outputs)
        g, y = torch.rand(networks, BATCH, outputs), torch.empty(networks, BATCH, outputs)
        dw, dx = torch.empty_like(w), torch.empty_like(x)
        timed(partial(torch.bmm, x, w, out=y))
        timed(partial(torch.bmm, x.mT, g, out=dw))
        if first > 0:  # the first layer's inputs need no gradient
            timed(partial(torch.bmm, g, w.mT, out=dx))
    weights = torch.rand(networks, 266_610)
    weights.grad = torch.rand_like(weights)
    timed(torch.optim.Adam([weights], fused=True).step)
    return seconds / networks * STEPS_AN_EPOCH


def _child(loop: str, folder: str, steps: int, start: "multiprocessing.Barrier", out: "multiprocessing.Queue") -> None:
    prepare_process()
    data = torchvision_mnist(Path(folder), "MNIST")
    start.wait()
    if loop == "tensor_dataset":
        out.put(tensor_dataset(data, 1, steps))
    else:
        networks, groups, train_scores = map(int, loop.split())
        out.put(stacked(data, networks, groups, steps, bool(train_scores)))


def two_at_once(loop: str, folder: str, steps: int) -> float:
    """Return the mean time of two processes that run `loop` side by side, halved."""
    context = multiprocessing.get_context("spawn")
    start, out = context.Barrier(2), context.Queue()
    children = [context.Process(target=_child, args=(loop, folder, steps, start, out)) for _ in range(2)]
    for child in children:
        child.start()
    times = [out.get() for _ in children]
    for child in children:
        child.join()
    return statistics.mean(times) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", default=os.environ.get("LTSWEEP_DATA", "data"), help="the folder that holds MNIST/raw"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300, help="steps timed of each loop")
    parser.add_argument("--out", type=Path, help="where to write the table; by default it is only printed")
    options = parser.parse_args()
    folder, steps = options.data, options.steps
    data = torchvision_mnist(Path(folder), "MNIST")
    torch.set_flush_denormal(True)
    peer = "TensorDataset + DataLoader, two at once"
    loops: dict[str, Callable[[], float]] = {
        "DataLoader with torchvision transforms, 2 workers": partial(transforms, data, folder, steps),
        f"TensorDataset + DataLoader, {cores()} threads": partial(tensor_dataset, data, cores(), steps),
        peer: partial(two_at_once, "tensor_dataset", folder, steps),
    }
    for networks in (1, 2, 4, 8, 16):
        share = max(20, steps // networks)
        loops[f"ltsweep, {networks} a stack, two at once"] = partial(two_at_once, f"{networks} 1 0", folder, share)
    share = max(20, steps // 8)
    loops["ltsweep, 8 a stack, 2 learning rates, two at once"] = partial(two_at_once, "8 2 0", folder, share)
    loops["ltsweep, 8 a stack, training set scored too, two at once"] = partial(two_at_once, "8 1 1", folder, share)
    times: dict[str, list[float]] = {name: [] for name in loops}
    floors = []
    for number in range(options.rounds):
        for name, loop in loops.items():
            times[name].append(loop())
            print(f"round {number + 1}  {times[name][-1]:7.2f} s  {name}", file=sys.stderr, flush=True)
        torch.set_num_threads(1)
        floors.append(floor(8, 10) / cores())
    medians = {name: statistics.median(values) for name, values in times.items()}
    lowest = statistics.median(floors)
    machine = hardware(torch.device("cpu"))
    lines = [
        f"# {machine['cpu']}, {machine['cores']} cores",
        "",
        f"torch {torch.__version__}, Python {platform.python_version()}; medians of {options.rounds} interleaved "
        f"rounds of `benchmarks/throughput.py --steps {steps}`.",
        "LeNet-300-100, MNIST, batch 60, Adam; seconds per epoch per run, the test set scored once an epoch.",
        "",
        "| loop | s / epoch / run | against the fairest peer |",
        "|---|---|---|",
        *(f"| {name} | {value:.2f} | {medians[peer] / value:.2f}x |" for name, value in medians.items()),
        f"| the floor: matrix products and Adam alone | {lowest:.2f} | {medians[peer] / lowest:.2f}x |",
    ]
    print("\n".join(lines))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        slug = re.sub(r"[^a-z0-9]+", "-", f"{machine['cpu']} {machine['cores']} cores".lower()).strip("-")
        (options.out / f"{slug}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
