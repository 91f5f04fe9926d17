"""The runs test against statsmodels' and against controls: random numbers pass it, pictures do not."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from statsmodels.sandbox.stats.runs import runstest_1samp

from ltsweep.engine.look import Look, Stage
from ltsweep.engine.stack import Network
from ltsweep.errors import UserError
from ltsweep.init import draw, kaiming_normal, tensors_of
from ltsweep.measure.mantissa import Mantissa, runs_z
from ltsweep.models import conv, resnet


@pytest.mark.parametrize("n", [50, 51, 1000])
@pytest.mark.parametrize("span", [4, 5, 256])
def test_z_is_that_of_statsmodels(n, span):
    rng = np.random.default_rng(n * span)
    for _ in range(5):
        values = rng.integers(0, span, n)
        theirs, _ = runstest_1samp(values, cutoff="median", correction=False)
        assert runs_z(values) == pytest.approx(theirs)


def test_where_none_is_below_the_median_or_few_are_there_the_test_says_nothing():
    assert math.isnan(runs_z(np.array([0] * 60 + [1] * 40)))
    assert math.isnan(runs_z(np.arange(19)))
    assert runs_z(np.arange(20)) < -4


def read(model, weights, masks=None, **fields):
    network = Network(model)
    state = network.stack(weights, masks or [{} for _ in weights], torch.device("cpu"))
    look = Look(0, 0, state, weights, Stage(network, None, []))
    return {(one.name, one.place, one.at): one.values for one in Mantissa(**fields)(look)}


def test_random_weights_pass_and_pictures_do_not():
    """1 % of Z are beyond 2.58 by chance."""
    model = conv((1, 28, 28), 10, [8, 8], hidden=[64])
    drawn = [draw(model, kaiming_normal, seed, "init") for seed in range(4)]
    found = read(model, drawn)
    z = torch.stack([found["runs_z", "fc1.weight", bit] for bit in (0, 8, 16)]).flatten()
    assert z.abs().max() < 4
    assert abs(float(z.mean())) < 4 / math.sqrt(12)
    # One picture after another: neighbours have like numbers, in the high bits; a mean takes them off round numbers.
    pictures = torch.tensor(load_digits().data[: 64 * 49]).float().cumsum(0) / 7 + 1
    drawn[0]["fc1.weight"] = (
        pictures.flatten()[: drawn[0]["fc1.weight"].numel()].view_as(drawn[0]["fc1.weight"]).clone()
    )
    found = read(model, drawn)
    assert found["runs_z", "fc1.weight", 16][0] < -10
    assert found["runs_z_max", "fc weight", 16][0] > 10
    assert found["runs_z_max", "fc weight", 16][1] < 4
    assert found["runs_z_rejected", "fc weight", 16][0] > 0


def test_tensors_by_kind_of_the_weights_that_remain():
    model = resnet((1, 8, 8), 3, blocks=1, width=0.25)
    weights = [
        {name: value.clone() for name, value in draw(model, kaiming_normal, seed, "init").items()} for seed in (0, 1)
    ]
    rng = torch.Generator().manual_seed(0)
    for one in weights:
        one["bn.weight"] = torch.randn(4, generator=rng)
        one["block3.bn1.weight"] = torch.randn(16, generator=rng)
    masks = [{"output.weight": torch.ones(3, 16)} for _ in weights]
    masks[0]["output.weight"][1] = 0
    found = read(model, weights, masks, ranges=[[3, 9]])
    assert {place for name, place, _ in found if name == "runs_z"} == {name for name, _ in model.named_parameters()}
    kinds = {place for name, place, _ in found if name == "runs_z_mean"}
    assert kinds == {"conv weight", "norm weight", "norm bias", "fc weight", "fc bias"}
    bits = weights[0]["output.weight"][[0, 2]].flatten().numpy().view(np.int32)
    assert found["runs_z", "output.weight", 3][0] == pytest.approx(runs_z((bits >> 3) & 127))
    convs = torch.stack([v.abs() for (name, place, _), v in found.items() if name == "runs_z" and "conv" in place])
    assert torch.allclose(found["runs_z_mean", "conv weight", 3], convs.mean(0))
    assert torch.allclose(found["runs_z_max", "conv weight", 3], convs.amax(0))
    assert torch.allclose(found["runs_z_rejected", "conv weight", 3], (convs > 2.5758).float().mean(0))
    assert found["runs_z", "bn.weight", 3].isnan().all()  # four numbers
    assert found["runs_z_mean", "fc bias", 3].isnan().all()
    assert set(tensors_of(model)) >= {place for name, place, _ in found if name == "runs_z"}


@pytest.mark.parametrize("ranges", [[], [[0, 23]], [[5, 4]], [[0]], "all", [[-1, 3]], [[True, 3]]])
def test_ranges_that_are_no_bits_are_refused(ranges):
    with pytest.raises(UserError, match=r"^measure\.mantissa\.ranges=.* bits from 0 to 22$"):
        Mantissa(ranges=ranges)
