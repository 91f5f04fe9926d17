"""Every YAML of the package composes, makes the object it describes, and reaches whoever installs the package."""

import configparser
import functools
import glob
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import ltsweep.conf
import pytest
import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.utils import get_class
from omegaconf import OmegaConf

from ltsweep.errors import UserError
from ltsweep.grid import cell
from ltsweep.run.build import check_configs, load_data, make_measurements

CONF = Path(next(iter(ltsweep.conf.__path__)))
REPOSITORY = Path(__file__).parents[2]

YAMLS = sorted(path.relative_to(CONF) for path in CONF.rglob("*.yaml"))
CHOICES = [path for path in YAMLS if path.parts[0] in cell.GROUPS]
# These need a saved network on the disk: tests/ltsweep/run/test_transfer.py and test_like.py make it.
WHOLE = [path for path in CHOICES if str(path) not in ("method/transfer.yaml", "init/like.yaml")]
EXPERIMENTS = [path for path in YAMLS if path.parts[0] == "experiment"]
MEASURES = [path for path in YAMLS if path.parts[0] == "measure"]
HYDRA = [path for path in YAMLS if path.parts[0] == "hydra"]
ROOT = [path for path in YAMLS if len(path.parts) == 1]


TEXTS, OF_TEXTS = ("tiny_shakespeare", "wikitext2"), ("lstm", "transformer")


def of(path):
    """Return the override that takes this YAML."""
    return f"{path.parent}={path.stem}"


def others_of(path, *others):
    """Return those of some overrides that go beside a YAML, texts beside their models and these beside texts."""
    if path.stem in (*TEXTS, *OF_TEXTS):
        others = ("dataset=tiny_shakespeare", "model=lstm")
    return [other for other in others if other.split("=")[0] != path.parts[0]]


@pytest.fixture
def compose():
    """Return a function from overrides to the config that the command would have."""
    cell.register_resolver()
    Plugins.instance()
    with initialize_config_module("ltsweep.conf", version_base="1.3"):
        yield lambda *overrides, **more: hydra_compose("config", overrides=list(overrides), **more)


def test_every_yaml_is_looked_at():
    on_disk = {
        os.path.relpath(os.path.join(folder, name), CONF)
        for folder, _, names in os.walk(CONF)
        for name in names
        if name.endswith((".yaml", ".yml"))
    }
    assert {str(path) for path in YAMLS} == on_disk
    assert len(on_disk) > 20
    families = [CHOICES, EXPERIMENTS, MEASURES, HYDRA, ROOT]
    assert sorted(itertools.chain(*families)) == YAMLS  # each in one, and none twice
    assert {path.parts[0] for path in CHOICES} == set(cell.GROUPS)
    assert [str(path) for path in ROOT] == ["config.yaml"]
    assert CONF.resolve() == (REPOSITORY / "conf").resolve()


def test_the_defaults_make_a_cell(compose):
    one = cell.from_config(compose())
    check_configs([one])
    assert {group: one.config[group]["name"] for group in cell.GROUPS if group in one.config} == {
        "dataset": "mnist",
        "model": "lenet_300_100",
        "init": "xavier_n",
        "optimizer": "adam",
        "lr": "constant",
        "prune_rate": "half_output",
        "method": "imp",
    }


@pytest.mark.parametrize("path", WHOLE, ids=str)
def test_a_choice_makes_its_object(compose, path):
    one = cell.from_config(compose(*others_of(path), of(path)))
    check_configs([one])
    assert one.config[path.parts[0]]["name"] == path.stem
    assert "${" not in json.dumps(one.config)
    assert "???" not in json.dumps(one.config)


@pytest.mark.parametrize("path", WHOLE, ids=str)
def test_a_choice_goes_with_other_data_and_another_model(compose, path):
    flat = path.parts[0] == "dataset" and len(yaml.safe_load((CONF / path).read_text())["input_shape"]) == 1
    model = "model=residual_mlp" if flat else "model=lenet5"
    one = cell.from_config(compose(*others_of(path, "dataset=digits", model), of(path)))
    check_configs([one])
    shape = one.config["dataset"]["input_shape"]
    assert one.config["model"].get("input_shape", shape) == shape  # torchvision's take pictures of any size
    assert one.key != cell.from_config(compose(of(path))).key


@pytest.mark.parametrize("path", WHOLE, ids=str)
def test_a_choice_with_a_field_that_nothing_takes_is_refused(compose, tmp_path, path):
    group = path.parts[0]
    one = cell.from_config(compose(*others_of(path), of(path), f"+{group}.surprise=1"))
    # A data set is made when it is loaded; nothing else needs to be.
    refuse = functools.partial(load_data, data_dir=tmp_path) if group == "dataset" else check_configs
    with pytest.raises(UserError, match="surprise") as refused:
        refuse([one])
    assert group in str(refused.value)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", CHOICES, ids=str)
def test_a_choice_says_what_it_is(path):
    text = (CONF / path).read_text()
    fields = yaml.safe_load(text)
    assert next(iter(fields)) == "name"
    assert fields["name"] == path.stem
    assert fields["_target_"].split(".")[0] in ("ltsweep", "torch", "torchvision")


@pytest.mark.parametrize("group", cell.GROUPS)
def test_choices_of_a_group_are_different_cells(compose, group):
    paths = [path for path in WHOLE if path.parts[0] == group]
    assert len({cell.from_config(compose(of(path))).key for path in paths}) == len(paths)


# A transfer needs a saved ticket too: tests/command/test_experiments.py makes it.
@pytest.mark.parametrize("path", [path for path in EXPERIMENTS if path.stem != "transfer"], ids=str)
def test_an_experiments_whole_grid_is_valid(compose, path):
    config = compose(f"+experiment={path.stem}", return_hydra_config=True)
    assert config.study == path.stem
    params = config.hydra.sweeper.params
    few = {
        name: re.sub(r"range\((\d+),\d+\)", r"\1", str(text)) for name, text in params.items()
    }  # the first of a range
    values = [[f"{name}={value}" for value in text.split(",")] for name, text in few.items()]
    points = list(itertools.product(*values))
    cells = [cell.from_config(compose(f"+experiment={path.stem}", *point)) for point in points]
    check_configs(cells)
    assert len({one.key for one in cells}) == len(points) > 1


@pytest.mark.parametrize("path", EXPERIMENTS, ids=str)
def test_an_experiment_opens_with_its_command(path):
    header = [line for line in (CONF / path).read_text().splitlines() if line.startswith("#")]
    assert header[0] == "# @package _global_"
    assert any(f"python -m ltsweep +experiment={path.stem}" in line for line in header)


@pytest.mark.parametrize("path", HYDRA, ids=str)
def test_hydras_own_choices_are_plugins_of_their_kind(compose, path):
    config = compose(of(path), return_hydra_config=True)
    fields = dict(config.hydra[path.parts[1]])
    kind = {"launcher": Launcher, "sweeper": Sweeper}[path.parts[1]]
    plugin = get_class(fields.pop("_target_"))
    assert issubclass(plugin, kind)
    fields.pop("params", None)
    assert isinstance(plugin(**fields, **({"params": None} if kind is Sweeper else {})), kind)


@pytest.mark.parametrize("path", MEASURES, ids=str)
def test_a_measurement_can_be_made_by_its_name(compose, path):
    chosen = OmegaConf.to_container(compose(f"measure=[{path.stem}]").measure)
    assert list(chosen) == [path.stem]
    (made,) = make_measurements(chosen).values()
    assert callable(made)


def test_no_setting_enters_the_key(compose):
    """The last block of config.yaml says where and how; every other key of it decides a number."""
    top = [name for name in yaml.safe_load((CONF / "config.yaml").read_text()) if name != "defaults"]
    assert set(cell.SETTINGS) - {"measure"} <= set(top)  # a group, of which none is chosen
    plain = cell.from_config(compose()).key
    assert cell.from_config(compose("measure=[weights]")).key == plain
    for name, value in {
        "study": "x",
        "data_dir": "x",
        "device": "cpu",
        "workers": 3,
        "stack_size": 3,
        "force": True,
        "dry_run": True,
        "objective": "final_val_loss",
    }.items():
        assert cell.from_config(compose(f"{name}={value}")).key == plain
    numbers = {
        "seed": 1,
        "levels": 1,
        "epochs": 1,
        "iterations": 1,
        "batch_size": 1,
        "validation": 1,
        "evaluate_every": 1,
        "evaluate_train": 1,
        "evaluate_test": 1,
        "precision": "bf16",
        "label_smoothing": 0.1,
        "clip": 1,
    }
    assert set(numbers) | set(cell.SETTINGS) - {"measure"} == set(top)
    keys = {cell.from_config(compose(f"{name}={value}")).key for name, value in numbers.items()}
    assert len(keys | {plain}) == len(numbers)
    for override in ("levels=1", "method.controls=[reinit]", "method.draws=2"):  # by which a cell grows
        assert cell.from_config(compose(override)).key == plain


def test_interpolations_follow_what_they_point_at(compose):
    config = cell.from_config(
        compose("dataset=digits", "model.negative_slope=0.2", "prune_rate=by_type", "prune_rate.value=0.3")
    ).config
    assert config["model"]["input_shape"] == [1, 8, 8]
    assert config["validation"] == config["dataset"]["validation"] == 200
    assert config["init"]["negative_slope"] == 0.2
    assert {config["prune_rate"][kind] for kind in ("conv", "fc", "output")} == {0.3}


def test_the_package_data_patterns_take_every_yaml():
    settings = configparser.ConfigParser()
    settings.read(REPOSITORY / "setup.cfg")
    patterns = settings["options.package_data"]["ltsweep.conf"].split()
    taken = set(itertools.chain(*(glob.glob(pattern, root_dir=CONF, recursive=True) for pattern in patterns)))
    assert {str(path) for path in YAMLS} <= taken


@pytest.mark.slow
def test_the_wheel_holds_every_yaml(tmp_path):
    """Built as an installer builds it, from a copy, so that nothing is left in the repository."""
    pytest.importorskip("setuptools", minversion="69")
    source = tmp_path / "source"
    for name in ("src", "conf", "multirun_analysis"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("setup.cfg", "pyproject.toml", "README.md"):
        if (REPOSITORY / name).exists():
            shutil.copy(REPOSITORY / name, source)
    build = "from setuptools.build_meta import build_wheel; build_wheel('..')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"ltsweep/conf/{path}" for path in YAMLS} <= names
    assert "ltsweep/conf/__init__.py" in names
    assert "ltsweep/py.typed" in names
    # Without an __init__.py: others' plugins live in the same namespace.
    assert "hydra_plugins/__init__.py" not in names
    modules = {f"{path.relative_to(REPOSITORY / 'src')}" for path in (REPOSITORY / "src").rglob("*.py")}
    assert modules <= names
    analysis = {path for path in (REPOSITORY / "multirun_analysis").rglob("*.*") if path.suffix != ".pyc"}
    assert {str(path.relative_to(REPOSITORY)) for path in analysis if path.is_file()} <= names
    (metadata,) = [name for name in names if name.endswith(".dist-info/entry_points.txt")]
    assert re.search(r"ltsweep\s*=\s*ltsweep\.__main__:main", zipfile.ZipFile(wheel).read(metadata).decode())
