"""What a study's config may instantiate: our choices, and torch's networks and optimizers; never a command."""

import sys
from pathlib import Path

import ltsweep.conf
import pytest
import yaml

from ltsweep.errors import UserError
from ltsweep.grid.targets import check_targets

CONF = Path(ltsweep.conf.__file__).parent
GROUPS = ("dataset", "init", "lr", "measure", "method", "model", "optimizer", "prune_rate", "stop")
YAMLS = sorted(path for group in GROUPS for path in (CONF / group).glob("*.yaml"))


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: f"{path.parent.name}={path.stem}")
def test_every_choice_that_is_shipped_is_allowed(path):
    check_targets({path.parent.name: yaml.safe_load(path.read_text().replace("${", "$("))}, "config.yaml")


@pytest.mark.parametrize(
    "target",
    [
        "torch.nn.Linear",
        "torch.nn.init.normal_",
        "torch.optim.Adam",
        "torchvision.models.resnet18",
        "ltsweep.data.Dataset",
    ],
)
def test_what_makes_networks_is_allowed(target):
    check_targets({"model": {"name": "x", "_target_": target}}, "config.yaml")


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.run",
        "builtins.exec",
        "functools.partial",
        "hydra.utils.call",
        "torch.load",
        "torch.hub.load",
        "torch.optim.os.system",
        "torch.nn.Module.load_state_dict",
        "torch.nn.modules.module.torch.load",
        "torch.nn.modules.module.OrderedDict",
        "torchvision.models._api.load_state_dict_from_url",
        "ltsweep.cluster.slurm._run",
        "ltsweep.slurm._run",
        "ltsweep.command.main",
        "ltsweep.store.disk.remove",
        "ltsweep.data.mnist.gzip.open",
        "ltsweep.data.mnist._wrong",
        "ltsweep.models.nn.Linear",
        "ltsweep.method.imp.schema.TICKET",
        "ltsweep.models",
        "ltsweep.models.missing",
        "ltsweep.modelsx.f",
        "ltsweep.prune..uniform",
        "torch",
        "",
        ".",
        None,
        3,
        ["torch.nn.Linear"],
        {"_target_": "torch.nn.Linear"},
        "own.drawn\x1b[2J",
    ],
)
@pytest.mark.parametrize(
    "inside", [lambda node: node, lambda node: {"score": node}, lambda node: {"controls": [[node]]}]
)
def test_all_else_is_refused_wherever_it_stands(target, inside):
    good = {"_target_": "ltsweep.method.IMP", "_partial_": True}
    with pytest.raises(UserError, match=r"^s/config.yaml: method") as refused:
        check_targets({"seed": 0, "method": {**good, **inside({"_target_": target})}}, "s/config.yaml")
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["init", "gain", "_args_"])
def test_an_interpolation_is_refused_since_its_resolver_can_make_a_target(name):
    made = '${oc.create:"{_target_: os.system, command: id}"}'
    with pytest.raises(UserError, match=r"is an interpolation, and none is resolved$"):
        check_targets({"init": {"_target_": "ltsweep.init.orthogonal", name: [made]}}, "config.yaml")
    with pytest.raises(UserError, match=r"is an interpolation"):
        check_targets({"init": {made: 1}}, "config.yaml")


def test_a_module_that_the_user_names_is_allowed_and_nothing_that_it_imports(tmp_path, monkeypatch):
    (tmp_path / "my_drawn.py").write_text("from os import *\nimport os\ndef drawn(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    one = {"init": {"_target_": "my_drawn.drawn"}}
    with pytest.raises(UserError, match=r"if you trust the module my_drawn: --allow my_drawn$"):
        check_targets(one, "config.yaml")
    assert "my_drawn" not in sys.modules
    check_targets(one, "config.yaml", ["other", "my_drawn"])
    for target in ("my_drawn.os.system", "my_drawn.popen", "my_drawn.system", "my_drawn2.drawn"):
        with pytest.raises(UserError, match=target):
            check_targets({"init": {"_target_": target}}, "config.yaml", ["my_drawn"])
