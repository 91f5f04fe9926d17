import pytest
from torch import nn

from ltsweep.errors import UserError
from ltsweep.prune import layers_of


def kinds(layers):
    return {layer.name: layer.kind for layer in layers}


def test_by_default_matrices_and_kernels_are_pruned_and_the_last_is_the_output(tiny_bn):
    assert kinds(layers_of(tiny_bn)) == {"conv1.weight": "conv", "conv2.weight": "conv", "output.weight": "output"}


def test_patterns_choose_what_is_pruned_and_a_name_which_is_the_output(tiny_bn):
    found = kinds(layers_of(tiny_bn, prunable=["conv*.weight", "bn1.weight"], output="conv1.weight"))
    assert found == {"conv1.weight": "output", "bn1.weight": "fc", "conv2.weight": "conv"}
    assert kinds(layers_of(tiny_bn, prunable=["output.weight"])) == {"output.weight": "output"}
    # An output layer that is not pruned leaves the others their kinds.
    assert kinds(layers_of(tiny_bn, prunable=["conv*.weight"], output="output.weight")) == {
        "conv1.weight": "conv",
        "conv2.weight": "conv",
    }


@pytest.mark.parametrize("given", [{"prunable": ["conv3.weight"]}, {"output": "outputs.weight"}])
def test_a_pattern_that_fits_nothing_is_one_line_with_a_hint(tiny_bn, given):
    with pytest.raises(UserError, match=r"fits no parameter of the model; did you mean \w+\.weight\? there are conv1"):
        layers_of(tiny_bn, **given)


def test_a_model_without_weights_is_one_line():
    with pytest.raises(UserError, match="nothing to prune"):
        layers_of(nn.Sequential(nn.Flatten()))
