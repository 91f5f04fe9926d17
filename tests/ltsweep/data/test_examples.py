"""The loss of examples with labels, in training and in scores."""

import dataclasses
import math

import pytest
import torch

from ltsweep.engine.problem import Draws
from ltsweep.engine.stack import Network
from ltsweep.engine.train import scored
from ltsweep.engine.trained import MaskedWeights
from ltsweep.init import draw, kaiming_normal
from ltsweep.prune import layers_of


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_a_smoothed_label_is_spread_over_all_classes_in_training_alone(data, tiny, smoothing):
    """Szegedy et al. 2016, section 7: (1 - s) of the label's own loss, and s of the mean over the classes."""
    network = Network(tiny)
    weights = [draw(tiny, kaiming_normal, seed) for seed in range(2)]
    masks = {layer.name: torch.ones(layer.shape) for layer in layers_of(tiny)}
    state = network.stack(weights, [masks] * 2, torch.device("cpu"))
    smooth = dataclasses.replace(data, label_smoothing=smoothing).map(torch.clone).to(torch.device("cpu"))
    forward, draws = scored(network, MaskedWeights(network), state), [Draws(seed, 0, 10, 1) for seed in range(2)]
    index = torch.arange(16).view(2, 8)
    found = smooth.loss(forward, {}, (index,))
    for c in range(2):
        tiny.load_state_dict(weights[c])
        logs = tiny(data.train_x[index[c]]).log_softmax(1)  # (B, K)
        own = logs[torch.arange(8), data.train_y[index[c]]]
        expected = -((1 - smoothing) * own + smoothing * logs.mean(1)).mean()
        torch.testing.assert_close(found[c], expected)
    assert smooth.evaluate(forward, {}, draws) == data.evaluate(forward, {}, draws)
    assert all(math.isfinite(value) for values in smooth.evaluate(forward, {}, draws).values() for value in values)
