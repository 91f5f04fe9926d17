"""The examples of docs/networks.md: a module that draws, and classifiers of torchvision by their YAML alone."""

import copy
import functools
import math
import re
from pathlib import Path

import pytest
import torch
import yaml

from ltsweep.data import Examples
from ltsweep.engine.noise import no_other_draws, streams
from ltsweep.engine.problem import Draws
from ltsweep.engine.stack import Network
from ltsweep.engine.train import Group, snapshot, train
from ltsweep.engine.trained import MaskedWeights
from ltsweep.init import draw, kaiming_normal
from ltsweep.optim import constant
from ltsweep.prune import layers_of
from ltsweep.run.build import make
from ltsweep.store.checkpoints import load_checkpoint, save_checkpoint

PAGE = (Path(__file__).parents[2] / "docs" / "networks.md").read_text()
YAMLS = [
    yaml.safe_load(text.replace("${dataset.num_classes}", "10"))
    for block in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for text in re.split(r"^# my_conf/model/\S+\n", block, flags=re.MULTILINE)[1:]
]


def test_the_module_of_the_page_draws_from_its_stream():
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    namespace = {"__name__": "networks_page"}
    exec(compile(code, "docs/networks.md", "exec"), namespace)
    module, x = namespace["SignNoise"](0.5), torch.zeros(40, 50)
    with no_other_draws(module):
        found = module.train()(x)
    assert set(found.unique().tolist()) == {-0.5, 0.5}
    assert abs(float(found.mean())) < 0.05
    assert torch.equal(module.eval()(x), x)


@pytest.mark.slow
@pytest.mark.parametrize("fields", YAMLS, ids=[fields["name"] for fields in YAMLS])
def test_a_torchvision_classifier_is_counted_trained_and_checkpointed_by_its_yaml_alone(tmp_path, fields):
    fields = {name: value for name, value in fields.items() if name not in ("how", "largest_stack")}
    model = make({"model": fields}, "model")
    layers = layers_of(model)
    prunable = sum(math.prod(layer.shape) for layer in layers)
    assert f"{prunable:,}" in PAGE
    assert [layer.name for layer in layers if layer.kind == "output"] == ["fc.weight"]
    norms = {name for name, module in model.named_modules() if hasattr(module, "running_mean")}
    assert not norms & {layer.name.rpartition(".")[0] for layer in layers}

    network, seed = Network(model), Draws(0, 1, 0, 1)
    masks = {layer.name: torch.ones(layer.shape) for layer in layers}
    masks["conv1.weight"][0] = 0
    state = network.stack([draw(model, kaiming_normal, 0, "init")], [masks], torch.device("cpu"))
    state.buffers.update(streams(model, [seed], torch.device("cpu")))
    before = copy.deepcopy(state.params["fc.weight"])
    y = torch.arange(2)
    data = Examples(torch.randn(2, 3, 32, 32), y, torch.randn(2, 3, 32, 32), y)
    groups = [Group(slice(0, 1), functools.partial(constant, value=0.1), {})]
    make_optimizer = functools.partial(torch.optim.SGD, fused=True)
    trained = MaskedWeights(network)
    steps = train(network, trained, state, data, data.batches([seed], 2), make_optimizer, groups, 1)
    ((_, optimizer),) = steps
    assert not torch.equal(state.params["fc.weight"], before)
    assert not state.params["conv1.weight"][0, 0].any()
    assert all(value.isfinite().all() for value in state.params.values())

    held = snapshot(network, state, optimizer)
    facts = {"level": 1, "arms": ["ticket/0"], "step": 1, "seconds": 0.0, "rows": {}, "readings": {}}
    save_checkpoint(tmp_path, "stack", facts, held)
    found, tensors = load_checkpoint(tmp_path, "stack")
    assert found == facts
    assert tensors.keys() == held.keys()
    assert all(torch.equal(value, tensors[name]) for name, value in held.items())
