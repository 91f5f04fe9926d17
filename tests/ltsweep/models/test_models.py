import pytest
import torch
from torch import nn

from ltsweep.errors import UserError
from ltsweep.models import lenet5, lenet_300_100

SHAPES = {
    lenet_300_100: {"fc1": (300, 784), "fc2": (100, 300), "output": (7, 100)},
    lenet5: {
        "conv1": (64, 1, 3, 3),
        "conv2": (64, 64, 3, 3),
        "fc1": (256, 64 * 14 * 14),
        "fc2": (256, 256),
        "output": (7, 256),
    },
}


@pytest.mark.parametrize("build", SHAPES)
def test_layers_and_logits(build):
    model = build((1, 28, 28), 7)
    weights = {name: tuple(p.shape) for name, p in model.named_parameters() if name.endswith("weight")}
    assert weights == {f"{name}.weight": shape for name, shape in SHAPES[build].items()}
    biases = {name: tuple(p.shape) for name, p in model.named_parameters() if name.endswith("bias")}
    assert biases == {f"{name}.bias": shape[:1] for name, shape in SHAPES[build].items()}
    assert model(torch.randn(5, 1, 28, 28)).shape == (5, 7)


def test_lenet_300_100_is_three_affine_maps_with_relu_between():
    model, x = lenet_300_100((2, 3), 4), torch.randn(6, 2, 3)
    w = dict(model.named_parameters())
    hidden = (x.reshape(6, 6) @ w["fc1.weight"].T + w["fc1.bias"]).clamp(min=0)
    hidden = (hidden @ w["fc2.weight"].T + w["fc2.bias"]).clamp(min=0)
    torch.testing.assert_close(model(x), hidden @ w["output.weight"].T + w["output.bias"])


def test_lenet5_is_conv_conv_pool_and_three_affine_maps():
    model, x = lenet5((3, 6, 6), 4), torch.randn(2, 3, 6, 6)
    w = dict(model.named_parameters())
    maps = nn.functional.conv2d(x, w["conv1.weight"], w["conv1.bias"], padding=1).clamp(min=0)
    maps = nn.functional.conv2d(maps, w["conv2.weight"], w["conv2.bias"], padding=1).clamp(min=0)
    hidden = maps.unflatten(2, (3, 2)).unflatten(4, (3, 2)).amax((3, 5)).flatten(1)
    for layer in ("fc1", "fc2"):
        hidden = (hidden @ w[f"{layer}.weight"].T + w[f"{layer}.bias"]).clamp(min=0)
    torch.testing.assert_close(model(x), hidden @ w["output.weight"].T + w["output.bias"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", SHAPES)
def test_activation(build):
    leaky = build((1, 8, 8), 3, activation="leaky_relu", negative_slope=0.05)
    slopes = [module.negative_slope for module in leaky.modules() if isinstance(module, nn.LeakyReLU)]
    assert slopes == [0.05] * (len(SHAPES[build]) - 1)
    assert not any(isinstance(module, nn.ReLU) for module in leaky.modules())
    plain = build((1, 8, 8), 3, activation="relu")
    assert sum(isinstance(module, nn.ReLU) for module in plain.modules()) == len(SHAPES[build]) - 1


@pytest.mark.parametrize("build", SHAPES)
def test_an_unknown_activation_is_refused(build):
    with pytest.raises(UserError, match=r"^model\.activation=swish .*relu, leaky_relu"):
        build((1, 8, 8), 3, activation="swish")
