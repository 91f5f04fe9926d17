import pytest
import torch
from torch import nn

from ltsweep.errors import UserError
from ltsweep.models import lenet5, lenet_300_100, mlp, residual_mlp

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


@pytest.mark.parametrize(
    ("hidden", "depth", "form", "sizes"),
    [
        ([7], 4, "ramp", [7, 7, 7, 7]),
        ([2, 8], 4, "ramp", [2, 4, 6, 8]),
        ([8, 2], 3, "ramp", [8, 5, 2]),
        ([8, 2], 1, "ramp", [8]),
        ([2, 8], 5, "repeat", [2, 8, 2, 8, 2]),
        ([2, 8], None, "repeat", [2, 8]),
    ],
)
def test_the_hidden_layers_of_a_deep_network(hidden, depth, form, sizes):
    model = mlp((3, 3), 4, hidden, depth=depth, form=form)
    assert [layer.out_features for layer in model if isinstance(layer, nn.Linear)] == [*sizes, 4]


@pytest.mark.parametrize(
    ("hidden", "depth", "form", "text"),
    [
        ([], 3, "ramp", r"model\.hidden=\[\] .* one size, or the first and the last"),
        ([1, 2, 3], 3, "ramp", r"model\.hidden=\[1, 2, 3\] .* one size, or the first and the last"),
        ([1, 2, 3], 2, "repeat", r"model\.hidden=\[1, 2, 3\] .* 1 to 2 sizes"),
        ([1], 2, "round", r"model\.form=round is unknown; choose one of ramp, repeat"),
    ],
)
def test_hidden_layers_that_cannot_be_made_are_refused(hidden, depth, form, text):
    with pytest.raises(UserError, match=text):
        mlp((3, 3), 4, hidden, depth=depth, form=form)


def test_a_residual_network_adds_scaled_modules():
    model, x = residual_mlp((2, 3), 4, depth=3, layers=2, units=5, b=0.5), torch.randn(6, 2, 3)
    w = dict(model.named_parameters())

    def layer(name, x):
        return (x @ w[f"{name}.weight"].T + w[f"{name}.bias"]).clamp(min=0)

    f = layer("fc0", x.flatten(1))
    for number in (1, 2, 3):
        f = f + 0.5**number * layer(f"module{number}.fc2", layer(f"module{number}.fc1", f))
    torch.testing.assert_close(model(x), f @ w["output.weight"].T + w["output.bias"])
