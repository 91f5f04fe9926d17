"""The prunable weights of each network, layer by layer, counted by hand; the papers' figures; what `width` changes."""

import itertools
import math
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from ltsweep.errors import UserError
from ltsweep.grid.cell import from_config
from ltsweep.models import alexnet, conv, mlp, resnet, vgg
from ltsweep.prune import layers_of
from ltsweep.run.build import check_configs, make, prunable_layers

PAGE = Path(__file__).parents[3] / "docs" / "networks.md"

# Products of inputs, outputs and kernel, as one writes them down from the papers' tables for 32x32x3 and ten classes.
CONV_2 = {"conv1": 3 * 64 * 9, "conv2": 64 * 64 * 9}
CONV_4 = CONV_2 | {"conv3": 64 * 128 * 9, "conv4": 128 * 128 * 9}
CONV_6 = CONV_4 | {"conv5": 128 * 256 * 9, "conv6": 256 * 256 * 9}
ENDS = {"fc2": 256 * 256, "output": 256 * 10}
VGG = (3, 64, 64, 128, 128, 256, 256, 256, 256, 512, 512, 512, 512, 512, 512, 512, 512)
RESNET = {"conv": 3 * 16 * 9} | {
    f"block{3 * stage + block}.conv{number}": (inputs if (block, number) == (1, 1) else size) * size * 9
    for stage, (inputs, size) in enumerate([(16, 16), (16, 32), (32, 64)])
    for block in (1, 2, 3)
    for number in (1, 2)
}
LAYERS = {
    "lenet_300_100": {"fc1": 3072 * 300, "fc2": 300 * 100, "output": 100 * 10},
    "mlp": {"fc1": 3072 * 300, "fc2": 300 * 100, "output": 100 * 10},
    "residual_mlp": {"fc0": 3072 * 5} | {f"module{n}.fc1": 5 * 5 for n in range(1, 11)} | {"output": 5 * 10},
    "lenet5": CONV_2 | {"fc1": 16 * 16 * 64 * 256} | ENDS,
    "conv2": CONV_2 | {"fc1": 16 * 16 * 64 * 256} | ENDS,
    "conv4": CONV_4 | {"fc1": 8 * 8 * 128 * 256} | ENDS,
    "conv6": CONV_6 | {"fc1": 4 * 4 * 256 * 256} | ENDS,
    "alexnet": {
        "conv1": 3 * 96 * 121,
        "conv2": 96 * 256 * 25,
        "conv3": 256 * 384 * 9,
        "conv4": 384 * 384 * 9,
        "conv5": 384 * 256 * 9,
        "fc1": 256 * 1024,
        "fc2": 1024 * 1024,
        "output": 1024 * 10,
    },
    "vgg19": {f"conv{n}": VGG[n - 1] * VGG[n] * 9 for n in range(1, 17)} | {"output": 512 * 10},
    "resnet20": RESNET | {"output": 64 * 10},
    "resnet18": RESNET | {"block4.shortcut.0": 16 * 32, "block7.shortcut.0": 32 * 64, "output": 64 * 10},
}
# On windows of 64 tokens of 65 kinds.
TEXT = {
    "lstm": {"embedding": 65 * 128}
    | {f"lstm{n}.{product}": 128 * 4 * 128 for n in (1, 2) for product in ("input", "recurrent")}
    | {"output": 128 * 65},
    "transformer": {"embedding": 65 * 128, "positions.embedding": 64 * 128}
    | {
        f"block{n}.{place}": 128 * 128 * factor
        for n in (1, 2, 3, 4)
        for place, factor in {"attention.input": 3, "attention.output": 1, "fc1": 4, "fc2": 4}.items()
    }
    | {"output": 128 * 65},
}
# (all, those of convolutions), as the papers round them, up or down; None where nothing fit to compare was published.
PUBLISHED = {
    "conv2": (4.3e6, 38e3),
    "conv4": (2.4e6, 260e3),
    "conv6": (None, 1.1e6),  # the paper's 1.7M does not follow from its own table: docs/networks.md
    "vgg19": (20.0e6, None),
    "resnet18": (None, 270e3),
    "resnet20": (0.27e6, None),
    "alexnet": (5.1e6, None),
}


@pytest.fixture(scope="module")
def model_of(compose):
    def build(name, *overrides):
        shape = ["dataset.input_shape=[3,32,32]"] if not any("input_shape" in one for one in overrides) else []
        cell = from_config(compose(f"model={name}", *shape, *overrides))
        check_configs([cell])
        with torch.device("meta"):
            model = make(cell.config, "model")
        return cell.config, model

    return build


def counts(config, model):
    return {layer.name.removesuffix(".weight"): math.prod(layer.shape) for layer in prunable_layers(config, model)}


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_has_the_weights_of_the_table(model_of, name):
    config, model = model_of(name)
    found = counts(config, model)
    assert found == LAYERS[name]
    kinds = {layer.name.removesuffix(".weight"): layer.kind for layer in layers_of(model)}
    assert [place for place, kind in kinds.items() if kind == "output"] == ["output"]
    every, of_conv = sum(found.values()), sum(n for place, n in found.items() if kinds[place] == "conv")
    for number, published in zip((every, of_conv), PUBLISHED.get(name, (None, None)), strict=True):
        if published is not None:
            assert number == pytest.approx(published, rel=0.05)
    assert model(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 10)


def test_every_shipped_model_is_counted():
    import ltsweep.conf

    shipped = Path(next(iter(ltsweep.conf.__path__)), "model").glob("*.yaml")
    of_torchvision = {"resnet50", "resnet101", "wide_resnet50"}  # counted in test_torchvision.py
    assert {path.stem for path in shipped} == set(LAYERS) | set(TEXT) | of_torchvision


@pytest.mark.parametrize("name", TEXT)
def test_every_layer_of_a_model_of_texts_has_its_weights(compose, name):
    """And the page says how many there are in all."""
    config = from_config(compose("dataset=tiny_shakespeare", f"model={name}")).config
    with torch.device("meta"):
        model = make(config, "model")
    assert counts(config, model) == TEXT[name]
    kinds = {layer.name: layer.kind for layer in layers_of(model)}
    assert [place for place, kind in kinds.items() if kind == "output"] == ["output.weight"] == list(kinds)[-1:]
    assert list(kinds.values()).count("embedding") == {"lstm": 1, "transformer": 2}[name]
    assert f"| `{name}` | {sum(TEXT[name].values()):,} |" in PAGE.read_text()


@pytest.mark.parametrize("name", LAYERS)
def test_the_page_says_the_same(model_of, name):
    """docs/networks.md has a row for each model: all, those of convolutions, on 32x32x3 and on 28x28x1."""
    (row,) = re.findall(rf"^\| `{name}`.*$", PAGE.read_text(), re.MULTILINE)
    said = [int(cell.replace(",", "")) for cell in re.findall(r"\| ([\d,]+) (?=\|)", row)]
    found = []
    for shape in ("[3,32,32]", "[1,28,28]"):
        config, model = model_of(name, f"dataset.input_shape={shape}")
        layers = layers_of(model)
        found += [sum(counts(config, model).values())]
        found += [sum(math.prod(layer.shape) for layer in layers if layer.kind == "conv")]
    assert said == found


def test_resnet_18s_274_thousand_are_those_with_batch_norm_and_its_statistics():
    model = resnet((3, 32, 32), 10, shortcut="projection")
    statistics = sum(value.numel() for name, value in model.named_buffers() if "running" in name)
    assert sum(value.numel() for value in model.parameters()) + statistics == 274_042


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8), (3, 33, 65), (3, 64, 64)])
@pytest.mark.parametrize("name", sorted(set(LAYERS) - {"mlp", "lenet_300_100"}))
def test_pictures_of_other_sizes_are_taken(model_of, name, shape):
    _, model = model_of(name, f"dataset.input_shape={list(shape)}".replace(" ", ""))
    assert model(torch.empty(2, *shape, device="meta")).shape == (2, 10)


def test_pictures_that_are_too_small_are_refused():
    with pytest.raises(UserError, match=r"^model\.channels=\[64, 128\] halves pictures 2 times, .* 4 pixels .* 3x9$"):
        conv((1, 3, 9), 10, [64, 128])


SIZES = {
    mlp: ([300, 100], [150, 50], [1, 1]),
    conv: ([64, 64, 256, 256], [32, 32, 128, 128], [1, 1, 1, 1]),
    alexnet: ([96, 256, 384, 384, 256, 1024, 1024], [48, 128, 192, 192, 128, 512, 512], [1] * 7),
    vgg: ([*VGG[1:]], [n // 2 for n in VGG[1:]], [1] * 16),
    resnet: (
        [16] * 7 + [32] * 6 + [64] * 6,
        [8] * 7 + [16] * 6 + [32] * 6,
        [1] * 19,
    ),
}


@pytest.mark.parametrize("build", SIZES)
def test_width_is_a_factor_of_every_layer_but_the_last(build):
    for width, sizes in zip((1.0, 0.5, 0.0001), SIZES[build], strict=True):
        with torch.device("meta"):
            layers = layers_of(build((3, 32, 32), 10, width=width))
        assert [layer.shape[0] for layer in layers] == [*sizes, 10]


def test_width_rounds_to_whole_units():
    widths = [layer.shape[0] for layer in layers_of(mlp((4,), 3, [10, 10], width=0.26))]
    assert widths == [3, 3, 3]
    assert [layer.shape[0] for layer in layers_of(mlp((4,), 3, [5, 7], width=0.5))] == [2, 4, 3]  # half to even


@pytest.mark.parametrize("build", SIZES)
def test_widths_are_factors_of_each_layer_block_or_stage(build):
    """A factor of 2 for one of them, and of 1 for all others, doubles some layers and leaves the others as they are."""
    count = {mlp: 2, conv: 3, alexnet: 7, vgg: 5, resnet: 3}[build]

    def sizes(**fields):
        with torch.device("meta"):
            return [layer.shape[0] for layer in layers_of(build((3, 32, 32), 10, **fields))]

    plain = sizes()
    doubled = [sizes(widths=[2.0 if place == one else 1.0 for place in range(count)]) for one in range(count)]
    for one in doubled:
        assert {new / old for new, old in zip(one, plain, strict=True)} == {1, 2}
    times = [[one[i] / size for one in doubled].count(2) for i, size in enumerate(plain)]
    assert times == [1] * (len(plain) - 1) + [0]  # each layer by one of the factors, the output by none
    assert sizes(widths=[0.5] * count) == sizes(width=0.5)
    with pytest.raises(UserError, match=rf"^model\.widths=.* has {count + 1} factors, and the model has {count} sizes"):
        sizes(widths=[1.0] * (count + 1))


@pytest.mark.parametrize("hidden", [[], [7], [300, 100], [9, 8, 7, 6]])
def test_an_mlp_has_any_hidden_layers(model_of, hidden):
    config, model = model_of("mlp", f"model.hidden={hidden}".replace(" ", ""))
    sizes = [3072, *hidden, 10]
    assert list(counts(config, model).values()) == [a * b for a, b in itertools.pairwise(sizes)]


def test_lenet_300_100_and_conv_2_are_members_of_their_families(compose):
    """With the same names of parameters, and so the same initial weights."""
    for one, other in (("lenet_300_100", "mlp"), ("lenet5", "conv2")):
        shapes = []
        for name in (one, other):
            config = from_config(compose("dataset=digits", f"model={name}")).config
            shapes.append({place: tuple(value.shape) for place, value in make(config, "model").named_parameters()})
        assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (("model=mlp", "model.hidden=[300,0]"), r"^model\.hidden=\[300, 0\] is out of range: .* from 1 to 1,000,000"),
        (("model=mlp", "model.hidden=300"), r"^model\.hidden=300 is out of range: .* a list"),
        (("model=conv2", "model.width=0"), r"^model\.width=0 is out of range: .* above 0"),
        (("model=mlp", "model.widths=[1,0]"), r"^model\.widths=\[1, 0\] is out of range: .* above 0"),
        (("model=mlp", "model.widths=[2]"), r"^model\.widths=\[2\] has 1 factors, and the model has 2 sizes"),
        (("model=conv4", "model.dropout=1"), r"^model\.dropout=1 is out of range: .* below 1"),
        (("model=vgg19", "model.blocks=[2,2]"), r"^model: .*blocks=\[2, 2\]"),
        (("model=resnet20", "model.shortcut=none"), r"^model\.shortcut=none is unknown; choose one of padded, proj"),
        (("model=resnet20", "model.blocks=0"), r"^model\.blocks=0 is out of range"),
        (("model=conv6", "dataset.input_shape=[1,4,4]"), r"^model\.channels=\[64, 128, 256\] halves pictures 3 times"),
        (("model=alexnet", "dataset.input_shape=[64]"), r"^model\.input_shape=\[64\] is not that of pictures"),
        (("model=conv2", "dataset.input_shape=[64]"), r"^model\.input_shape=\[64\] is not that of pictures"),
        (("model=vgg19", "dataset.input_shape=[64]"), r"^model\.input_shape=\[64\] is not that of pictures"),
        (("model=resnet18", "dataset.input_shape=[64]"), r"^model\.input_shape=\[64\] is not that of pictures"),
        (("model=lstm",), r"^model\.input_shape=\[1, 28, 28\] is not that of a text"),
        (("model=transformer", "dataset=digits"), r"^model\.input_shape=\[1, 8, 8\] is not that of a text"),
        (("model=transformer", "dataset.input_shape=[64]", "model.heads=3"), r"^model\.heads=3 does not divide .*=128"),
        (("model=lstm", "dataset=tiny_shakespeare", "method=synflow"), r"^method\.score=synflow .* takes tokens$"),
    ],
)
def test_what_makes_no_network_is_one_line(compose, overrides, text):
    with pytest.raises(UserError, match=text) as refused:
        check_configs([from_config(compose(*overrides))])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("build", [conv, alexnet, mlp])
def test_dropout_is_after_every_hidden_fully_connected_layer_and_0_is_none(build):
    with torch.device("meta"):
        names = [type(module).__name__ for module in build((3, 32, 32), 10, dropout=0.5)]
        plain = [type(module).__name__ for module in build((3, 32, 32), 10)]
    assert names.count("Dropout") == 2
    assert plain == [name for name in names if name != "Dropout"]
    places = [place for place, name in enumerate(names) if name == "Dropout"]
    assert {names[place - 1] for place in places} == {"ReLU"}
    assert names[max(places) + 1 :] == ["Linear"]


def test_a_residual_block_is_he_et_als():
    """Against the formulas of the paper, in evaluation, where batch norm is a plain scale."""
    for shortcut in ("padded", "projection"):
        model = resnet((3, 8, 8), 4, blocks=1, shortcut=shortcut).eval()
        block, x = model.block2, torch.randn(2, 16, 8, 8)
        w = dict(block.named_parameters())
        scale = 1 / math.sqrt(1 + 1e-5)
        inner = nn.functional.conv2d(x, w["conv1.weight"], stride=2, padding=1) * scale
        inner = nn.functional.conv2d(inner.clamp(min=0), w["conv2.weight"], padding=1) * scale
        if shortcut == "padded":
            past = torch.cat([x[:, :, ::2, ::2], torch.zeros(2, 16, 4, 4)], dim=1)
        else:
            past = nn.functional.conv2d(x, w["shortcut.0.weight"], stride=2) * scale
        torch.testing.assert_close(block(x), (inner + past).clamp(min=0), rtol=1e-4, atol=1e-5)
        assert isinstance(model.block1.shortcut, nn.Identity)
