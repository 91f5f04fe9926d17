"""The generator of recorded steps against SplitMix64 in Python's own integers, and who may draw from it."""

import math

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from ltsweep.engine.noise import Noise, no_other_draws, stream_names, streams
from ltsweep.engine.problem import Draws
from ltsweep.errors import UserError
from ltsweep.models import Dropout

CPU = torch.device("cpu")
DRAWS = 40_000
# Standard errors that a count may be off; one in 15,000 is, and the seeds are fixed.
SIGMAS = 4


def splitmix(state, count):
    """Return the next `count` numbers of SplitMix64, without a sign, and its state after them."""
    found = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        found.append(z ^ (z >> 31))
    return found, state


def noise(state=0):
    module = Noise()
    module.stream.fill_(state)
    return module


def test_the_reference_is_splitmix64():
    """The numbers that others publish for the seed 1234567."""
    assert splitmix(1234567, 3)[0] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("state", [0, 1, 1234567, 2**62 + 12345, 2**63 - 1])
def test_bits_are_those_of_splitmix64_seeded_by_the_stream(state):
    module = noise(state)
    for _ in range(3):
        (seed,), state = splitmix(state, 1)
        expected, _ = splitmix(seed, 6)
        assert [number % 2**64 for number in module.bits((2, 3)).flatten().tolist()] == expected
        assert int(module.stream) % 2**64 == state


@pytest.mark.parametrize("probability", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_as_many_happen_as_are_likely(probability):
    count = int(noise(5).happens(probability, (DRAWS,)).sum())
    assert abs(count - DRAWS * probability) < SIGMAS * math.sqrt(DRAWS * probability * (1 - probability))
    assert bool(noise(5).happens(1.0, (DRAWS,)).all())


def test_neighbours_steps_and_streams_are_independent():
    """Two draws of a fair coin agree half of the time, whichever of them differ."""
    one, other = noise(5), noise(6)
    first, second = (one.happens(0.5, (DRAWS,)) for _ in range(2))
    for a, b in (
        (first, first.roll(1)),  # neighbours in a row
        (first, first.roll(60)),  # and in the batch
        (first, second),
        (first, other.happens(0.5, (DRAWS,))),
        (second, other.happens(0.5, (DRAWS,))),
    ):
        assert abs(int((a == b).sum()) - DRAWS / 2) < SIGMAS * math.sqrt(DRAWS) / 2


def test_every_bit_is_a_fair_coin():
    bits = noise(7).bits((DRAWS,))
    for place in range(64):
        ones = int((bits >> place & 1).sum())
        assert abs(ones - DRAWS / 2) < SIGMAS * math.sqrt(DRAWS) / 2


def draws(seed=0, level=0, networks=1):
    return Draws(seed, level, 0, networks)


def test_streams_begin_anew_for_each_seed_level_and_module_and_networks_of_a_cell_share_them():
    model = nn.ModuleDict({"a": Noise(), "b": nn.ModuleList([Noise()])})
    assert stream_names(model) == ["a.stream", "b.0.stream"]
    assert stream_names(Noise()) == ["stream"]
    found = {(seed, level): streams(model, [draws(seed, level)], CPU) for seed in range(3) for level in range(3)}
    assert len({int(value) for one in found.values() for value in one.values()}) == 3 * 3 * 2
    stacked = streams(model, [draws(2, 1, networks=2), draws(0, 1, networks=2)], CPU)
    for name, value in stacked.items():
        assert value.tolist() == [int(found[key][name]) for key in ((2, 1), (2, 1), (0, 1), (0, 1))]


def test_a_stream_is_a_buffer_that_no_state_dict_has():
    model = nn.Sequential(Noise())
    assert [name for name, _ in model.named_buffers()] == ["0.stream"]
    assert model.state_dict() == {}


class ByHand(nn.Module):
    """A model whose own forward pass draws, in training."""

    def __init__(self, draw):
        super().__init__()
        self.inner, self.draw = nn.Linear(4, 4), draw

    def forward(self, x):
        return self.draw(self.inner(x)) if self.training else self.inner(x)


class Attends(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, dropout=0.1, batch_first=True)

    def forward(self, x):
        return self.attention(x[:, None], x[:, None], x[:, None])[0][:, 0]


REFUSED = {
    "0 (RReLU)": lambda: nn.Sequential(nn.RReLU()),
    "1 (AlphaDropout)": lambda: nn.Sequential(nn.Linear(4, 4), nn.AlphaDropout(0.1)),
    "0.1 (Dropout)": lambda: nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.1)), nn.ReLU()),
    "1 (DropBlock2d)": lambda: nn.Sequential(nn.Unflatten(1, (1, 2, 2)), torchvision.ops.DropBlock2d(0.5, 1)),
    "ByHand": lambda: ByHand(functional.dropout),
    "1 (ByHand)": lambda: nn.Sequential(nn.ReLU(), ByHand(lambda x: x + torch.rand_like(x))),
    "attention (MultiheadAttention)": Attends,
}


@pytest.mark.parametrize("where", REFUSED)
def test_a_module_that_draws_from_torchs_generator_is_named(where):
    with torch.device("meta"):
        model, x = REFUSED[where](), torch.empty(2, 4)
    with pytest.raises(UserError) as refused, no_other_draws(model):
        model.train()(x)
    assert str(refused.value).startswith(f"model: {where} draws from torch's own generator in training, ")
    assert "\n" not in str(refused.value)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_module_that_draws_from_its_stream_is_not_refused():
    model = nn.Sequential(nn.Linear(4, 4), Dropout(0.5), nn.Dropout(0.0), nn.BatchNorm1d(4)).to("meta")
    with no_other_draws(model):
        model.train()(torch.empty(2, 4, device="meta"))
