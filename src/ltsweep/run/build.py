"""Configs -> objects. The only place that instantiates, and where what cannot be made is refused."""

import contextlib
import copy
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from ltsweep import data as data_module
from ltsweep.data import Dataset
from ltsweep.engine.stack import Tensors
from ltsweep.errors import UserError
from ltsweep.grid.cell import Cell
from ltsweep.init import draw
from ltsweep.lottery.loop import Member, Program
from ltsweep.prune import layers_of
from ltsweep.rng import generator

# Fields of a dataset's YAML that other groups read by interpolation; its function does not take them.
_DATASET_FIELDS = ("input_shape", "num_classes", "validation")


def check_configs(cells: Sequence[Cell]) -> None:
    """Raise UserError for the first config that does not make what it describes; each distinct one is tried once."""
    meta = torch.device("meta")
    tried: set[str] = set()

    def once(*parts: object) -> bool:
        text = json.dumps(parts)
        new = text not in tried
        tried.add(text)
        return new

    for cell in cells:
        config = cell.config
        if not once({name: value for name, value in config.items() if name != "seed"}):
            continue
        with meta:
            model = make(config, "model")
        with _blamed_on("model", config):
            layers_of(model)
        with _blamed_on("method", config):
            make(config, "method").check_rates(rates_of(config, model))
        if once("init", config["init"]):
            call(config, "init", (4, 3), generator(0))
        if once("lr", config["lr"]):
            call(config, "lr", 0, 1)
        if once("optimizer", config["optimizer"]):
            call(config, "optimizer", [{"params": [torch.zeros(1)], "lr": 0.1}])


def load_data(cells: Sequence[Cell], data_dir: Path) -> dict[str, Dataset]:
    """Load each data set that `cells` need once, keyed by its config. Raises UserError where it does not fit them."""
    loaded: dict[str, Dataset] = {}
    for cell in cells:
        config = cell.config["dataset"]
        if data_key(cell) not in loaded:
            fields = {name: value for name, value in config.items() if name not in _DATASET_FIELDS}
            data = call({"dataset": fields}, "dataset", data_dir)
            data_module.check(data, config["name"], config["input_shape"], config["num_classes"])
            loaded[data_key(cell)] = data
    _check_lengths(cells, loaded)
    return loaded


def _check_lengths(cells: Sequence[Cell], data: Mapping[str, Dataset]) -> None:
    """Raise UserError where a config asks for more examples than its data set has, or more steps than a level has."""
    for cell in cells:
        config, name = cell.config, cell.config["dataset"]["name"]
        examples = len(data[data_key(cell)].train_y)
        left = examples - config["validation"]
        if left < 1:
            raise UserError(
                f"validation={config['validation']} leaves nothing to train on: {name} has {examples} examples"
            )
        if config["batch_size"] > left:
            raise UserError(f"batch_size={config['batch_size']} is more than the {left} training examples of {name}")
        steps, _ = lengths(config, left)
        if (config["evaluate_every"] or 1) > steps:
            raise UserError(f"evaluate_every={config['evaluate_every']} is more than the {steps} iterations of a level")
        if config["lr"].get("warmup", 0) > steps:
            raise UserError(f"lr.warmup={config['lr']['warmup']} is more than the {steps} iterations of a level")


def make(config: Mapping[str, Any], group: str) -> Any:
    """Instantiate one group, without the `name` that is there for tables; a YAML's mistakes become UserError."""
    fields = {name: copy.deepcopy(value) for name, value in config[group].items() if name != "name"}
    with _blamed_on(group, config):
        return instantiate(fields, _convert_="all")


def call(config: Mapping[str, Any], group: str, *arguments: Any) -> Any:
    """Instantiate a group that is a function, and call it."""
    function = make(config, group)
    with _blamed_on(group, config):
        return function(*arguments)


@contextlib.contextmanager
def _blamed_on(group: str, config: Mapping[str, Any]) -> Iterator[None]:
    """Turn what a group's target refuses into a UserError that shows the group's fields."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
        if isinstance(cause, UserError):
            raise cause from error
        shown = " ".join(f"{group}.{name}={value}" for name, value in config[group].items() if not name.endswith("_"))
        raise UserError(f"{group}: {' '.join(str(cause).split())} (with {shown})") from error


def rates_of(config: Mapping[str, Any], model: torch.nn.Module) -> dict[str, float]:
    """Return layer name -> pruning rate, as the group prune_rate gives it for `model`."""
    rates: dict[str, float] = call(config, "prune_rate", layers_of(model))
    return rates


def lengths(config: Mapping[str, Any], examples: int) -> tuple[int, int]:
    """Return the optimizer steps of a level and of an epoch."""
    epoch = math.ceil(examples / config["batch_size"])
    return config["iterations"] or config["epochs"] * epoch, epoch


def program_of(cell: Cell, data: Dataset, device: torch.device, checkpoint_every: float) -> Program:
    """Return what `cell` shares with every cell of its stack, with the data on `device`."""
    config = cell.config
    model = make(config, "model")
    steps, epoch = lengths(config, len(data.train_y) - config["validation"])
    return Program(
        model=model,
        layers=layers_of(model),
        data=data.map(lambda tensor: tensor.to(device)),
        method=make(config, "method"),
        make_optimizer=make(config, "optimizer"),
        levels=config["levels"],
        steps=steps,
        steps_per_epoch=epoch,
        evaluate_every=config["evaluate_every"] or epoch,
        batch_size=config["batch_size"],
        validation=config["validation"],
        checkpoint_every=checkpoint_every,
        device=device,
        precision=config["precision"],
    )


def member_of(cell: Cell, program: Program, initial: Tensors | None, masks: Tensors | None) -> Member:
    """Return what is `cell`'s own in a stack, going on from a ticket or, without one, from a fresh draw."""
    config, init = cell.config, make(cell.config, "init")
    optimizer = config["optimizer"]
    return Member(
        key=cell.key,
        seed=config["seed"],
        init=init,
        schedule=make(config, "lr"),
        settings={"weight_decay": optimizer["weight_decay"]} if "weight_decay" in optimizer else {},
        rates=rates_of(config, program.model),
        initial=draw(program.model, init, config["seed"], "init") if initial is None else initial,
        masks={layer.name: torch.ones(layer.shape) for layer in program.layers} if masks is None else masks,
    )


def data_key(cell: Cell) -> str:
    """Return what tells one data set's config from another's."""
    return json.dumps(cell.config["dataset"], sort_keys=True)
