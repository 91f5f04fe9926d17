"""A small data set, small models, configs without the command, and runs of the level loop that are watched."""

import contextlib
import dataclasses
import functools
import math
import resource
from collections import OrderedDict
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hypothesis import HealthCheck, settings
from torch import nn

from ltsweep.data import Dataset
from ltsweep.init import draw, xavier_normal
from ltsweep.lottery import level, loop
from ltsweep.lottery.loop import run_levels
from ltsweep.lottery.program import LevelDone, Member, Program
from ltsweep.method import IMP
from ltsweep.models.dropout import Dropout
from ltsweep.optim import constant
from ltsweep.prune import layers_of, uniform

# A busy machine is no failure.
settings.register_profile("ltsweep", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
settings.load_profile("ltsweep")


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _denormals():
    """Undo what running jobs in this process sets for good."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def compose():
    """Return a function from overrides to a composed config, as the command has it."""

    def composed(*overrides):
        with initialize_config_module("ltsweep.conf", version_base="1.3"):
            return hydra_compose("config", overrides=list(overrides))

    return composed


def synthetic(train=50, test=23, shape=(1, 4, 4), classes=3, seed=0):
    """Return noisy pictures around one centre a class, float32: learnable, and no pixel is zero."""
    rng = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, *shape, generator=rng)
    y = torch.arange(train + test) % classes
    x = centres[y] + torch.randn(train + test, *shape, generator=rng)
    return Dataset(x[:train], y[:train], x[train:], y[train:])


@pytest.fixture
def data():
    """Return 50 training and 23 test pictures of 1x4x4 in three classes."""
    return synthetic()


@pytest.fixture
def make_data():
    """Return the function that makes such data sets in other sizes."""
    return synthetic


@pytest.fixture
def tiny():
    """Return a fully connected 16-12-3 network."""
    layers = [("flatten", nn.Flatten()), ("fc", nn.Linear(16, 12)), ("act", nn.LeakyReLU(0.1))]
    return nn.Sequential(OrderedDict([*layers, ("output", nn.Linear(12, 3))]))


@pytest.fixture
def tiny_bn():
    """Return a network of two convolutions, with bias and without, batch norm after each, and an output layer."""
    layers = [
        ("conv1", nn.Conv2d(1, 4, 3, padding=1)),
        ("bn1", nn.BatchNorm2d(4)),
        ("act1", nn.ReLU()),
        ("conv2", nn.Conv2d(4, 5, 3, padding=1, stride=2, bias=False)),
        ("bn2", nn.BatchNorm2d(5)),
        ("act2", nn.ReLU()),
        ("flatten", nn.Flatten()),
        ("output", nn.Linear(20, 3)),
    ]
    return nn.Sequential(OrderedDict(layers))


@pytest.fixture
def tiny_noisy(tiny):
    """Return the fully connected network with dropout before its output layer."""
    return nn.Sequential(
        OrderedDict([*list(tiny.named_children())[:-1], ("dropout", Dropout(0.3)), ("output", tiny.output)])
    )


@dataclass
class Level:
    """What one level of a watched run trained: copies, name -> (C, *shape), taken at its start and its end."""

    params: dict
    buffers: dict
    masks: dict
    groups: list
    batches: list = field(default_factory=list)  # of (C, B)
    held_out: torch.Tensor | None = None  # (C, N)
    trained: dict | None = None


class Watched:
    """A problem that notes in `levels` what of it is used."""

    def __init__(self, problem, levels):
        self.problem, self.levels = problem, levels

    def __getattr__(self, name):
        return getattr(self.problem, name)

    def batches(self, *rest):
        for batch in self.problem.batches(*rest):
            self.levels[-1].batches.append(batch[0].clone())
            yield batch

    def evaluate(self, forward, memory, cells, splits):
        held_out = torch.stack([self.problem._held_out(cell) for cell in cells for _ in range(cell.networks)])
        assert self.levels[-1].held_out is None or torch.equal(self.levels[-1].held_out, held_out)
        self.levels[-1].held_out = held_out
        return self.problem.evaluate(forward, memory, cells, splits)


@pytest.fixture
def watched(monkeypatch):
    """Return the list to which every level that `run_levels` trains from now on is added."""
    seen, train = [], level.train

    def copies(tensors):
        return {name: value.detach().clone() for name, value in tensors.items()}

    def train_watched(network, trained, state, problem, batches, make_optimizer, groups, *rest):
        seen[-1].params, seen[-1].buffers, seen[-1].masks = map(copies, (state.params, state.buffers, state.masks))
        seen[-1].groups = list(groups)
        for done in train(network, trained, state, problem, batches, make_optimizer, groups, *rest):
            seen[-1].trained = copies(state.params)
            yield done

    def train_level_watched(program, *rest):
        seen.append(Level({}, {}, {}, []))
        yield from train_level(dataclasses.replace(program, problem=Watched(program.problem, seen)), *rest)

    train_level = level.train_level
    monkeypatch.setattr(level, "train", train_watched)
    monkeypatch.setattr(loop, "train_level", train_level_watched)
    return seen


@pytest.fixture
def make_program(data, tiny):
    """Return a function that makes a Program on the small data set: 40 of 50 examples to train on, batches of 16."""

    def make(model=tiny, **changes):
        program = {
            "model": model,
            "layers": layers_of(model),
            "problem": data,
            "method": IMP(),
            "make_optimizer": functools.partial(torch.optim.Adam, weight_decay=0.0),
            "levels": 2,
            "steps": 7,
            "steps_per_epoch": 3,
            "evaluate_every": 3,
            "batch_size": 16,
            "validation": 10,
            "checkpoint_every": math.inf,
            "device": torch.device("cpu"),
        }
        return Program(**program | changes)

    return make


@pytest.fixture
def make_member():
    """Return a function that makes a Member of a Program as the command does: seed, init, lr, rates, weight decay."""

    def make(program, key, seed=0, init=xavier_normal, lr=0.01, rates=0.2, weight_decay=0.0, **changes):
        member = {
            "key": key,
            "seed": seed,
            "init": init,
            "schedule": functools.partial(constant, value=lr),
            "group": (lr, weight_decay, ""),
            "settings": {"weight_decay": weight_decay},
            "rates": uniform(program.layers, rates) if isinstance(rates, float) else rates,
            "initial": draw(program.model, init, seed, "init"),
        }
        return Member(**member | changes)

    return make


@pytest.fixture
def run():
    """Return a function that runs levels: the finished levels by (key, level), with all rows of a key in order."""

    def run_all(program, members, first=0):
        events = list(run_levels(program, members, first))
        done = {(e.key, e.level): e for e in events if isinstance(e, LevelDone)}
        assert len(done) == sum(isinstance(e, LevelDone) for e in events)
        return SimpleNamespace(
            done=done,
            events=events,
            rows=lambda key: [row for (k, _), e in sorted(done.items()) if k == key for row in e.evaluations],
        )

    return run_all


@pytest.fixture
def no_room():
    """Return a function: within it, files cannot grow beyond so many bytes, as where a disk or a quota is full."""

    @contextlib.contextmanager
    def limited(size):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # Python ignores SIGXFSZ: writing fails with EFBIG
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited
