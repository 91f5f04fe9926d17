"""A tape against the same program run again. That whole training steps are the same to the bit is in test_train.py."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import conv2d, cross_entropy, max_pool2d

from ltsweep.engine.replay import Kernels, Tape, replayed

CPU = torch.device("cpu")


def gradients(x, w):
    leaf = w.clone().requires_grad_()
    (torch.bmm(x, leaf).relu() ** 2).sum().backward()
    return leaf.grad


def normalized(x):
    """Change running statistics, and return something new too."""
    mean, variance = x[0, :, 0].clone(), x[0, :, 1].abs()
    made = torch.ops.aten._native_batch_norm_legit(x, None, None, mean, variance, True, 0.1, 1e-5)
    return torch.cat([made[0].flatten(), mean, variance])


PROGRAMS = {
    "gradients": gradients,
    "a view of a product": lambda x, w: torch.bmm(x, w).mT[:, 1:].reshape(-1),
    "in place": lambda x, w: torch.bmm(x, w).add_(1).clamp_(min=0),
    "several results": lambda x, w: torch.cat([part.flatten() for part in x.sort(dim=1)]),
    "lists": lambda x, w: torch._foreach_mul([x, x + 1], 2.0)[1],
    "made from nothing": lambda x, w: torch.zeros(3) + torch.arange(3) + x.sum(),
    "convolution": lambda x, w: max_pool2d(conv2d(x[:, None], w[:1, None, :2, :2]), 2),
    "losses": lambda x, w: cross_entropy(x.flatten(0, 1), torch.zeros(len(x) * x.shape[1], dtype=torch.int64)),
    "random numbers": lambda x, w: x * torch.rand(4),
    "a statistic on the way": lambda x, w: normalized(x),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_tape_computes_again_what_it_was_recorded_with(name):
    rng = torch.Generator().manual_seed(0)
    x, w = torch.randn(2, 3, 4, generator=rng), torch.randn(2, 4, 5, generator=rng)
    torch.manual_seed(1)
    tape = Tape()
    with tape:
        out = PROGRAMS[name](x, w)
    place = out.data_ptr()
    for seed in (2, 3):
        for tensor in (x, w):
            tensor.copy_(torch.randn(tensor.shape, generator=rng))
        torch.manual_seed(seed)
        tape.replay()
        torch.manual_seed(seed)
        with Kernels():
            again = PROGRAMS[name](x, w)
        assert torch.equal(out, again)
        assert out.data_ptr() == place


@pytest.mark.parametrize(
    "read", [lambda x: x.mul_(float(x.sum())), lambda x: torch.equal(x, x), lambda x: x[0] > 0 or x]
)
def test_a_number_that_is_read_back_cannot_be_replayed(read):
    with pytest.raises(RuntimeError, match="reads a number back"), Tape():
        read(torch.ones(3))


def test_a_recording_that_failed_is_not_replayed():
    state, failing = torch.zeros(1), [False, True, False, False]

    def step(batch):
        state.add_(1)
        if failing.pop(0):
            raise MemoryError
        state.add_(batch[0].sum())

    do, batch = replayed(step, CPU), (torch.ones(1, 1, dtype=torch.int64),)
    do(batch)
    with pytest.raises(MemoryError):
        do(batch)
    do(batch)
    do(batch)
    assert state.item() == 1 + 1 + 1 + 2 + 2


def test_every_tensor_of_a_batch_is_read_anew():
    state = torch.zeros(2)

    def step(batch):
        numbers, noise = batch
        state.add_(numbers * noise)

    do = replayed(step, CPU)
    for n in range(1, 6):
        do((torch.tensor([n, n]), torch.tensor([0.5, float(n)])))
    assert state.tolist() == [7.5, 55.0]


@given(st.lists(st.integers(1, 3), max_size=12))
def test_every_batch_counts_once_whatever_sizes_come(sizes):
    """Of sizes in any order, the state ends as if each step had run as written."""
    written, state = torch.zeros(1), torch.zeros(1)
    runs = []

    def step(batch):
        (index,) = batch
        runs.append(len(index[0]))
        state.mul_(0.5).add_(index.sum())

    do = replayed(step, CPU)
    for number, size in enumerate(sizes):
        index = torch.full((2, size), number + 1)
        do((index,))
        written.mul_(0.5).add_(index.sum())
        assert torch.equal(state, written)
    twice = next((n for n in range(1, len(sizes)) if sizes[n] == sizes[n - 1]), len(sizes))
    assert runs == [s for n, s in enumerate(sizes) if n <= twice or s != sizes[twice]]
