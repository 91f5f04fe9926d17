import functools
import math
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from ltsweep import conf, init
from ltsweep.errors import UserError
from ltsweep.init import draw
from ltsweep.models import lstm, transformer
from ltsweep.rng import generator

FC = (400, 150)  # fan_in 150, fan_out 400
CONV = (48, 20, 5, 5)  # fan_in 500, fan_out 1200


def fans(shape):
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


# The share of the variance of a normal that a cut at two standard deviations leaves.
CUT = 0.7737413

# name of the YAML -> (distribution, its variance before any cut, from fan_in and fan_out)
FORMULAS = {
    "xavier_u": ("uniform", lambda i, o: 2 / (i + o)),
    "xavier_n": ("normal", lambda i, o: 2 / (i + o)),
    "kaiming_u": ("uniform", lambda i, _: 1 / i),
    "kaiming_n": ("normal", lambda i, _: 1 / i),
    "kaiming_u_out": ("uniform", lambda _, o: 1 / o),
    "kaiming_n_out": ("normal", lambda _, o: 1 / o),
    "lecun_u": ("uniform", lambda i, _: 1 / i),
    "lecun_n": ("normal", lambda i, _: 1 / i),
    "he_u": ("uniform", lambda i, _: 2 / i),
    "he_n": ("normal", lambda i, _: 2 / i),
    "he_double": ("normal", lambda i, _: 4 / i),
    "he_truncated": ("truncated", lambda i, _: 2 / i),
    "he_truncated_restored": ("truncated", lambda i, _: 2 / i / CUT),
    "pytorch": ("uniform", lambda i, _: 1 / (3 * i)),
    "signed_constant": ("signed", lambda i, _: 2 / i),
    "unsigned_constant": ("constant", lambda i, _: 2 / i),
    "orthogonal": ("orthogonal", None),
}


@pytest.fixture(scope="module")
def make_init(compose):
    composed = functools.cache(lambda name: compose(f"init={name}", "dataset=digits"))

    def make(name, **changes):
        config = OmegaConf.merge(composed(name), {"model": {"negative_slope": changes.pop("slope", 0.05)}})
        fields = OmegaConf.to_container(config, resolve=True)["init"] | changes
        assert fields.pop("name") == name
        return instantiate(fields)

    return make


def test_every_yaml_has_a_formula_here():
    (folder,) = conf.__path__
    assert {path.stem for path in (Path(folder) / "init").glob("*.yaml")} == {*FORMULAS, "like"}  # like another cell


@pytest.mark.parametrize("shape", [FC, CONV], ids=["fc", "conv"])
@pytest.mark.parametrize("name", [name for name in FORMULAS if name != "orthogonal"])
def test_moments_and_bounds(make_init, name, shape):
    distribution, variance = FORMULAS[name]
    std = math.sqrt(variance(*fans(shape)))
    weight = make_init(name)(shape, generator(3)).double()
    n = weight.numel()
    assert weight.shape == shape
    scaled = weight / std
    if distribution in ("signed", "constant"):
        torch.testing.assert_close(scaled.abs(), torch.ones_like(scaled), rtol=1e-6, atol=0)
        positive = int((scaled > 0).sum())
        assert abs(positive - n / 2) < 5 * math.sqrt(n) / 2 if distribution == "signed" else positive == n
        return
    largest, variance, fourth = scaled.abs().max().item(), scaled.pow(2).mean().item(), scaled.pow(4).mean().item()
    assert abs(scaled.mean()) < 5 / math.sqrt(n)
    if distribution == "uniform":
        # U(-a, a): a = std * sqrt(3), fourth moment 9/5
        assert 0.999 * math.sqrt(3) < largest <= math.sqrt(3) * (1 + 1e-6)
        assert variance == pytest.approx(1, abs=5 * math.sqrt(0.8 / n))
        assert fourth == pytest.approx(1.8, rel=0.03)
    elif distribution == "normal":
        assert 3.5 < largest < 6
        assert variance == pytest.approx(1, abs=5 * math.sqrt(2 / n))
        assert fourth == pytest.approx(3, rel=0.1)
    else:
        # cut at two standard deviations, not rescaled: 1 - 4 phi(2) / (2 Phi(2) - 1) of the variance is left
        assert 1.99 < largest <= 2 * (1 + 1e-6)
        left = 1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2))
        assert variance == pytest.approx(left, abs=5 * math.sqrt(2 / n))
        assert left == pytest.approx(0.774, abs=5e-4)


@pytest.mark.parametrize("shape", [FC, CONV], ids=["fc", "conv"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (init.xavier_uniform, nn.init.xavier_uniform_),
        (init.xavier_normal, nn.init.xavier_normal_),
        (init.kaiming_uniform, functools.partial(nn.init.kaiming_uniform_, nonlinearity="linear")),
        (init.kaiming_normal, functools.partial(nn.init.kaiming_normal_, nonlinearity="linear")),
        (
            functools.partial(init.kaiming_normal, fan_mode="fan_out"),
            functools.partial(nn.init.kaiming_normal_, mode="fan_out", nonlinearity="linear"),
        ),
        (
            functools.partial(init.kaiming_uniform, fan_mode="fan_out", gain="relu"),
            functools.partial(nn.init.kaiming_uniform_, mode="fan_out", nonlinearity="relu"),
        ),
        (
            functools.partial(init.kaiming_normal, gain="leaky_relu", negative_slope=0.05),
            functools.partial(nn.init.kaiming_normal_, a=0.05, nonlinearity="leaky_relu"),
        ),
        (init.pytorch_default, functools.partial(nn.init.kaiming_uniform_, a=math.sqrt(5))),  # as in nn.Linear
    ],
)
def test_draws_equal_those_of_torch_from_the_same_stream(ours, theirs, shape):
    expected = theirs(torch.empty(shape), generator=generator(0, "w"))
    torch.testing.assert_close(ours(shape, generator(0, "w")), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["kaiming_u", "kaiming_n", "he_truncated"])
def test_fan_mode_scales_by_the_root_of_the_fans(make_init, name):
    narrow = make_init(name, fan_mode="fan_in")(CONV, generator(0))
    wide = make_init(name, fan_mode="fan_out")(CONV, generator(0))
    torch.testing.assert_close(wide / narrow, torch.full(CONV, math.sqrt(500 / 1200)), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    "name", ["xavier_u", "xavier_n", "kaiming_u", "kaiming_n", "he_truncated", "orthogonal", "signed_constant"]
)
@pytest.mark.parametrize(
    ("gain", "factor"),
    [
        (2.0, 2.0),
        (0.5, 0.5),
        (3, 3.0),
        ("linear", 1.0),
        ("sigmoid", 1.0),
        ("relu", math.sqrt(2)),
        ("tanh", 5 / 3),
        ("leaky_relu", math.sqrt(2 / (1 + 0.3**2))),  # the slope is the model's
    ],
)
def test_gain_multiplies_the_draw(make_init, name, gain, factor):
    one = make_init(name, gain=1)(FC, generator(0))
    scaled = make_init(name, gain=gain, slope=0.3)(FC, generator(0))
    torch.testing.assert_close(scaled, one * factor, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("gain", ["selu_like", "", 0, -1.0, math.inf, math.nan])
def test_a_gain_out_of_range_is_refused(gain):
    with pytest.raises(UserError, match=r"^init\.gain=.*relu, leaky_relu"):
        init.xavier_uniform(FC, generator(0), gain=gain)


def test_an_unknown_fan_mode_is_refused():
    with pytest.raises(UserError, match=r"^init\.fan_mode=fan_avg .*fan_in, fan_out"):
        init.kaiming_normal(FC, generator(0), fan_mode="fan_avg")


@pytest.mark.parametrize(("shape", "axis"), [((30, 80), "rows"), ((80, 30), "columns"), ((12, 4, 3, 3), "rows")])
def test_orthogonal(make_init, shape, axis):
    matrix = make_init("orthogonal")(shape, generator(0)).flatten(1).double()
    gram = matrix @ matrix.T if axis == "rows" else matrix.T @ matrix
    torch.testing.assert_close(gram, torch.eye(len(gram), dtype=torch.float64), rtol=0, atol=1e-5)
    other = make_init("orthogonal")(shape, generator(1)).flatten(1)
    assert not torch.allclose(matrix.float(), other, atol=0.01)


@pytest.mark.parametrize("layer", [nn.Linear(50, 20_000), nn.Conv2d(10, 8_000, 3)], ids=["fc", "conv"])
def test_pytorch_default_is_distributed_as_a_fresh_torch_layer(layer, make_init):
    torch.manual_seed(0)
    layer.reset_parameters()
    drawn = draw(nn.Sequential(layer), make_init("pytorch"), 0)
    for name, theirs in (("0.weight", layer.weight), ("0.bias", layer.bias)):
        ours, theirs = drawn[name].double().flatten().sort().values, theirs.detach().double().flatten().sort().values
        bound = theirs.abs().max()
        assert ours.abs().max() == pytest.approx(bound.item(), rel=0.005)
        # Kolmogorov-Smirnov in the values: both uniform samples sorted, 8,000 of them or more
        assert ((ours - theirs).abs().max() / (2 * bound)).item() < 0.04


def test_he_double_has_twice_the_variance_of_he(make_init):
    he, double = make_init("he_n")(FC, generator(0)), make_init("he_double")(FC, generator(0))
    torch.testing.assert_close(double.pow(2), 2 * he.pow(2), rtol=1e-5, atol=0)


@pytest.mark.parametrize(("one", "other"), [("xavier_u", "kaiming_u"), ("xavier_n", "kaiming_n"), ("xavier_u", "he_u")])
def test_draws_of_one_seed_are_paired_across_inits(make_init, tiny, one, other):
    first, second = draw(tiny, make_init(one), 5, "init"), draw(tiny, make_init(other), 5, "init")
    for name in ("fc.weight", "output.weight"):
        fan_in, fan_out = fans(first[name].shape)
        ratio = math.sqrt(FORMULAS[other][1](fan_in, fan_out) / FORMULAS[one][1](fan_in, fan_out))
        torch.testing.assert_close(second[name], first[name] * ratio, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", [name for name in FORMULAS if not name.endswith("signed_constant")])
def test_one_seed_gives_the_same_draw_and_another_changes_every_weight(make_init, tiny, name):
    first, again, other = (draw(tiny, make_init(name), seed, "init") for seed in (1, 1, 2))
    for weight in ("fc.weight", "output.weight"):
        assert torch.equal(first[weight], again[weight])
        assert int((first[weight] == other[weight]).sum()) == 0


@pytest.mark.parametrize(("name", "low", "high"), [("signed_constant", 0.35, 0.65), ("unsigned_constant", 1, 1)])
def test_another_seed_draws_other_signs_alone(make_init, tiny, name, low, high):
    first, again, other = (draw(tiny, make_init(name), seed, "init")["fc.weight"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert low <= float((first == other).double().mean()) <= high
    assert torch.equal(first.sign(), draw(tiny, make_init("kaiming_n"), 1, "init")["fc.weight"].sign()) == (low < 1)


def test_a_draw_depends_on_nothing_drawn_before(tiny, tiny_bn):
    alone = draw(tiny, init.xavier_normal, 3, "init")
    torch.manual_seed(99)
    for seed in (3, 4):
        draw(tiny_bn, init.kaiming_uniform, seed, "init")
    after = draw(tiny, init.xavier_normal, 3, "init")
    assert all(torch.equal(alone[name], after[name]) for name in alone)


def test_a_draw_leaves_the_global_stream_alone(tiny):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    draw(tiny, init.pytorch_default, 3, "init")
    assert torch.equal(torch.rand(1), expected)


def test_layers_of_one_shape_are_drawn_apart():
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    drawn = draw(model, init.xavier_normal, 0)
    assert int((drawn["0.weight"] == drawn["1.weight"]).sum()) == 0


@pytest.mark.parametrize("name", FORMULAS)
def test_biases_are_zero_but_for_the_pytorch_default(make_init, tiny_bn, name):
    drawn = draw(tiny_bn, make_init(name), 0, "init")
    for bias, bound in (("conv1.bias", 1 / 3), ("output.bias", 1 / math.sqrt(20))):
        if name == "pytorch":
            assert drawn[bias].count_nonzero() == drawn[bias].numel()
            assert drawn[bias].abs().max() <= bound
        else:
            assert drawn[bias].count_nonzero() == 0


def test_a_draw_is_the_whole_network_and_normalization_keeps_the_models_values(tiny_bn):
    with torch.no_grad():
        tiny_bn.bn1.weight.fill_(0.25)
        tiny_bn.bn2.bias.fill_(-3)
        tiny_bn.bn2.running_var.fill_(9)
    before = {name: value.clone() for name, value in tiny_bn.state_dict().items()}
    drawn = draw(tiny_bn, init.xavier_normal, 0, "init")
    assert {name: value.shape for name, value in drawn.items()} == {n: v.shape for n, v in before.items()}
    for name in before:
        if name.startswith("bn"):
            assert torch.equal(drawn[name], before[name])
    for value in drawn.values():
        value.fill_(11)  # nothing of the model is handed out
    assert all(torch.equal(value, before[name]) for name, value in tiny_bn.state_dict().items())


def test_an_initialization_may_bring_its_bias(tiny_bn):
    """As an attribute of a function, or a method of a class; it draws from the bias's own stream."""

    def ones(shape, rng):
        return torch.ones(*shape)

    ones.bias = lambda shape, rng: torch.full((shape[0],), 0.5) + 0 * torch.rand(shape[0], generator=rng)

    class Twos:
        def __call__(self, shape, rng):
            return torch.full(tuple(shape), 2.0)

        def bias(self, shape, rng):
            return torch.rand(shape[0], generator=rng)

    for own in (ones, functools.partial(ones)):
        drawn = draw(tiny_bn, own, 0, "init")
        assert drawn["conv1.bias"].tolist() == [0.5] * 4
        assert drawn["output.bias"].tolist() == [0.5] * 3
        assert drawn["bn1.bias"].tolist() == [0.0] * 4  # no weight of two dimensions
    drawn = draw(tiny_bn, Twos(), 0, "init")
    assert torch.equal(drawn["output.bias"], torch.rand(3, generator=generator(0, "init", "output.bias")))


def test_a_models_embedding_is_drawn_as_a_weight_of_its_numbers_to_its_tokens():
    """By torch's default embedding, recurrent and output weights alike where E = H; by Xavier 10,000 words far less."""
    drawn = draw(lstm((5,), 500, embedding=64, hidden=64), init.pytorch_default, 0)
    for name in ("embedding", "lstm1.input", "lstm2.recurrent", "output"):
        assert 0.99 / 8 < float(drawn[f"{name}.weight"].abs().max()) <= 1 / 8
    assert float(init.xavier_normal((10_000, 128), generator(0)).std()) == pytest.approx(0.014, rel=0.01)
    drawn = draw(transformer((5,), 7, layers=1, heads=2, width=8), init.xavier_normal, 0)
    for norm in ("block1.norm1", "block1.norm2", "norm"):
        assert bool((drawn[f"{norm}.weight"] == 1).all())
        assert not drawn[f"{norm}.bias"].any()
