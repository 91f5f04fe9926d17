"""Torch's optimizers and dispatch modes do the same work without torch's compiler."""

import functools
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from torch import nn

from ltsweep.engine.plain import make_plainly, on_meta, step
from ltsweep.engine.stack import on_zeros

# Whole commands in one process: layers of every kind, both optimizers, snapshots.
COMMAND = """
import sys
from pathlib import Path
from ltsweep.command import main
Path("mine.txt").write_text("to be or not to be " * 50)
main(["-m", "dataset=tiny_shakespeare", "dataset.file=mine.txt", "dataset.sha256=null", "dataset.num_classes=8",
      "dataset.context=8", "data_dir=.", "model=lstm,transformer", "model.layers=1", "levels=1", "iterations=3",
      "batch_size=8", "validation=8", "device=cpu", "workers=1", "study=texts"])
main(["-m", "dataset=digits", "device=cpu", "workers=1", "model=lenet_300_100,lenet5", "optimizer=adam,sgd",
      "levels=1", "iterations=3", "batch_size=8", "validation=8", "evaluate_test=8", "evaluate_train=false",
      "checkpoint_every=0"])
from ltsweep.engine.plain import make_plainly, step
import torch
one = torch.zeros(1)
optimizer = make_plainly(torch.optim.Adam, [{"params": [one], "fused": True}])
optimizer.zero_grad()
optimizer.load_state_dict(optimizer.state_dict())
print(*({"torch._dynamo", "sympy", "sklearn", "scipy"} & sys.modules.keys()))
"""


def test_nothing_of_a_small_study_imports_the_compiler_or_scikit_learn(tmp_path):
    """Of the pinned torch: another may import it for other functions too."""
    pins = Path(__file__).parents[3].joinpath("requirements.lock").read_text()
    if f"torch=={version('torch').partition('+')[0]} " not in pins:
        pytest.skip("not the pinned torch")
    ended = subprocess.run(
        [sys.executable, "-c", COMMAND], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "2 done" in ended.stdout
    assert "4 done" in ended.stdout
    assert ended.stdout.endswith("\n\n")  # the names of what is imported: none


class Doubled(torch.optim.SGD):
    """An optimizer of one's own."""

    def step(self, closure=None):
        super().step()
        return super().step()


STOCK = {
    "adam": functools.partial(torch.optim.Adam, fused=True, weight_decay=0.1),
    "adamw": functools.partial(torch.optim.AdamW, fused=True),
    "sgd": functools.partial(torch.optim.SGD, fused=True, momentum=0.9, nesterov=True),
    "slow": torch.optim.Adam,
    "differentiable": functools.partial(torch.optim.SGD, differentiable=True),
    "other": torch.optim.RMSprop,
    "own": Doubled,
}


@pytest.mark.parametrize("name", STOCK)
@pytest.mark.parametrize("of_another_torch", [False, True])
def test_steps_have_the_bits_of_torchs_own(monkeypatch, name, of_another_torch):
    if of_another_torch:  # which wraps nothing
        plain = torch.optim.Optimizer.add_param_group.__wrapped__
        monkeypatch.setattr(torch.optim.Optimizer, "add_param_group", plain)
    start, gradients = torch.randn(50), torch.randn(4, 50)
    ends = []
    for make, take in ((make_plainly, step), (lambda make, groups: make(groups), lambda optimizer: optimizer.step())):
        value = start.clone()
        leaf = value.requires_grad_() if name != "differentiable" else value
        optimizer = make(STOCK[name], [{"params": [leaf], "lr": 0.1}])
        for gradient in gradients:
            leaf.grad = gradient.clone()
            take(optimizer)
        ends.append(leaf.detach())
    assert torch.equal(*ends)
    assert not torch.equal(ends[0], start)
    assert torch.is_grad_enabled()


def test_hooks_of_a_stock_optimizer_and_a_step_of_its_own_are_called():
    def hooked(groups):
        optimizer = torch.optim.SGD(groups)

        def clip(one, *_):
            one.param_groups[0]["params"][0].grad.clamp_(-1, 1)

        optimizer.register_step_pre_hook(clip)
        return optimizer

    def replaced(groups):
        optimizer = torch.optim.SGD(groups)
        optimizer.step = lambda: optimizer.param_groups[0]["params"][0].data.fill_(0.9)
        return optimizer

    for make in (hooked, replaced):
        leaf = torch.ones(1, requires_grad=True)
        optimizer = make_plainly(make, [{"params": [leaf], "lr": 0.1}])
        leaf.grad = torch.full((1,), 100.0)
        step(optimizer)
        assert leaf.item() == pytest.approx(0.9)


class Reads(nn.Linear):
    """A layer whose forward pass reads a number back."""

    def forward(self, x):
        return super().forward(x) if x.sum() >= 0 else super().forward(-x)


def test_a_module_on_the_meta_device_has_its_shapes_and_leaves_the_generator_alone():
    before = torch.get_rng_state()
    with on_meta():
        made = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 3), nn.LayerNorm(3))
        nn.init.kaiming_normal_(made[1].weight)
        real = torch.empty(20, device="cpu").normal_()
    assert [tuple(value.shape) for value in made.state_dict().values()] == [(5, 4), (3, 4), (3,), (3,), (3,)]
    assert all(value.is_meta for value in made.state_dict().values())
    torch.set_rng_state(before)
    assert torch.equal(real, torch.empty(20).normal_())  # drawn as ever, and nothing before it


def test_a_model_on_zeros_stays_on_the_meta_device_and_reads_no_number_back():
    with torch.device("meta"):
        wide = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
        reads = Reads(4, 3)
    assert on_zeros(wide.train(), torch.zeros(2, 4, 4)).shape == (2, 3)
    assert on_zeros(wide.eval(), torch.zeros(2, 4, 4), lifted=True).shape == (1, 2, 3)
    assert all(value.is_meta for value in wide.state_dict().values())
    with pytest.raises(RuntimeError, match="data-dependent"):
        on_zeros(reads, torch.zeros(1, 4), lifted=True)
