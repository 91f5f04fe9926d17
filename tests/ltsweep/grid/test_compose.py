"""Composing by sets of choices must give exactly the cells that Hydra gives one by one."""

import itertools

import pytest
from hydra import initialize_config_module
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode

from ltsweep.command import _register_plugins
from ltsweep.errors import UserError
from ltsweep.grid import cell
from ltsweep.grid.compose import compose_cells


@pytest.fixture
def sweep():
    """A Hydra context and the config of a sweep, as a launcher gets them."""
    setup_globals()
    cell.register_resolver()
    _register_plugins()
    with initialize_config_module("ltsweep.conf", version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        config = hydra.compose_config("config", [], RunMode.MULTIRUN)
        yield HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks()), config


AXES = [
    ["init=xavier_u", "init=kaiming_n"],
    ["lr.value=0.1", "lr.value=1", "lr=cosine"],
    ["seed=0", "seed=7", "dataset=digits", "+experiment=one_initialization"],
    [
        "validation=100",
        "dataset.validation=50",
        "model={activation:leaky_relu}",
        "method.controls=[reinit]",
        "epochs=3",
    ],
]


def test_cells_are_those_that_hydra_composes_one_by_one(sweep):
    context, config = sweep
    jobs = [list(job) for job in itertools.product(*AXES)][::7]  # 7 has no factor in common with the axes
    expected = [cell.from_config(context.config_loader.load_sweep_config(config, job)) for job in jobs]
    composed = compose_cells(context, config, jobs)
    assert [one.config for one in composed] == [one.config for one in expected]
    assert [one.key for one in composed] == [one.key for one in expected]
    assert len({one.key for one in composed}) > 12  # the axes do differ


def test_hydra_composes_once_for_each_set_of_choices(sweep, monkeypatch):
    context, config = sweep
    loader, calls = type(context.config_loader), []
    original = loader.load_sweep_config
    monkeypatch.setattr(loader, "load_sweep_config", lambda *args: calls.append(args) or original(*args))
    jobs = [[f"init={init}", f"seed={seed}"] for init in ("he_n", "he_u") for seed in range(20)]
    cells = compose_cells(context, config, jobs)
    assert len(calls) == 2
    assert [(one.config["init"]["name"], one.config["seed"]) for one in cells] == list(
        itertools.product(("he_n", "he_u"), range(20))
    )


@pytest.mark.parametrize("second", ["sede=1", "seed=-1", "init=none_such"])
def test_a_later_job_is_checked_as_well(sweep, second):
    context, config = sweep
    with pytest.raises((HydraException, UserError), match=second.split("=")[-1]):
        compose_cells(context, config, [["seed=0", "init=he_n"], ["seed=0", second]])


@pytest.mark.parametrize(
    ("overrides", "lr", "gain"),
    [
        (["lr=warmup,cosine", "lr.warmup=5", "lr.value=0.1", "init.gain=2"], {"name": "constant", "value": 0.0012}, 2),
        (["lr.warmup=5", "lr=step"], {"name": "step", "value": 0.0012, "warmup": 5}, 1),
        (["lr.value=0.1,0.2", "lr=warmup", "+init.x=3"], {"name": "warmup", "value": 0.0012}, 1),
        (["+experiment=one_initialization", "init.gain=2"], {"name": "constant", "value": 0.0012}, 1),
    ],
)
def test_the_config_of_a_sweep_leaves_the_fields_of_swept_choices_to_the_cells(sweep, overrides, lr, gain):
    """The last case sweeps init by the parameters of its sweeper."""
    hydra = GlobalHydra.instance().hydra
    config = hydra.compose_config("config", ["hydra.job.id=7", *overrides], RunMode.MULTIRUN)
    assert {name: config.lr[name] for name in lr} == lr
    assert config.init.gain == gain
    assert config.hydra.overrides.task == overrides
    assert config.hydra.overrides.hydra[0] == "hydra.job.id=7"
