"""Configs -> objects: the only place that instantiates, and that refuses a config which cannot be built."""

import contextlib
import copy
import dataclasses
import functools
import inspect
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch.nn import Embedding
from torch.nn.modules.conv import _ConvNd

from ltsweep.data.examples import Examples, check_examples, repeat_channel
from ltsweep.data.streamed import Streamed
from ltsweep.engine.noise import no_other_draws
from ltsweep.engine.plain import make_plainly, on_meta
from ltsweep.engine.problem import Asked, Problem
from ltsweep.engine.stack import Tensors, on_zeros
from ltsweep.errors import NotHereError, UserError
from ltsweep.grid.cell import Cell
from ltsweep.grid.key import without
from ltsweep.grid.place import ROOT
from ltsweep.init import Init, Like, draw, tensors_of
from ltsweep.lottery.program import Member, Program, Tables
from ltsweep.lottery.rows import measured
from ltsweep.measure.reading import Measurement
from ltsweep.method.axes import Length, nothing_kept
from ltsweep.method.transfer import Ticket, Transfer
from ltsweep.models.dropout import with_own_dropout
from ltsweep.prune import Layer, layers_of
from ltsweep.rng import generator
from ltsweep.schema import EVALUATIONS_FILE, LEVELS_FILE, columns_of, evaluation_columns, level_columns
from ltsweep.store.saved import SOURCE, saved
from ltsweep.words import shown

# Fields of a choice's YAML that its target does not take. Those of a data set say what its examples are, and the
# analysis reads its `note`; those of a model name the prunable weights.
_NOT_TAKEN = {
    "dataset": ("input_shape", "input_dtype", "label_shape", "num_classes", "validation", "note"),
    "model": ("prunable", "output"),
}

# Characters of another library's error that a message quotes.
_SAYS = 300


def check_configs(cells: Sequence[Cell], root: Path = Path(ROOT)) -> None:
    """Raise UserError for the first config whose model, init, ... cannot be built; equal configs are tried once.

    root: the folder of the studies of which configs name saved tickets.
    """
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
        with on_meta():
            model = make(config, "model")
        layers = prunable_layers(config, model)
        with _blamed_on("method", config):
            method = make(config, "method")
            method.check(layers, rates_of(config, layers), config["levels"])
            if isinstance(method, Transfer) and once("ticket", config["method"], config["model"]):
                with_ticket(method, root).check_ticket(tensors_of(model), layers)
        if config.get("stop"):
            make(config, "stop")
        if isinstance(init := make(config, "init"), Like):
            if once("like", config["init"], config["model"]):
                with_weights(init, root).check(model)
        elif once("init", config["init"]):
            call(config, "init", (4, 3), generator(0))
        if once("lr", config["lr"]):
            call(config, "lr", 0, 1)
        if once("optimizer", config["optimizer"]):
            make_optimizer = make(config, "optimizer")
            with _blamed_on("optimizer", config):
                make_plainly(make_optimizer, [{"params": [torch.zeros(1)], "lr": 0.1}])


def check_outputs(cells: Sequence[Cell]) -> None:
    """Raise UserError unless each model takes an example of its data set and gives a number for each class."""
    for cell in {json.dumps([cell.config["model"], cell.config["dataset"]]): cell for cell in cells}.values():
        _check_outputs(cell.config)


def _check_outputs(config: Mapping[str, Any]) -> None:
    dataset = config["dataset"]
    with on_meta():
        model = make(config, "model")
    shape, classes = dataset["input_shape"], dataset["num_classes"]
    labels, dtype = dataset.get("label_shape", []), input_dtype(config)
    with _blamed_on("model", config):
        try:
            with no_other_draws(model):
                trained = on_zeros(model.train(), torch.zeros(2, *shape, dtype=dtype))
            found = tuple(on_zeros(model.eval(), torch.zeros(1, *shape, dtype=dtype), lifted=True).shape[1:])
        except Exception:
            _check_channels(model, config)
            _check_tokens(model, config)
            raise
        if len(found) < 2 or list(found[1:-1]) != labels or found[-1] < classes:
            _check_tokens(model, config)
            wanted = f"{classes} classes" + f" of labels {labels}" * bool(labels)
            raise UserError(f"model: the outputs of an example are {list(found[1:])}, and there are {wanted}")
        if not isinstance(trained, torch.Tensor) or tuple(trained.shape[1:]) != found[1:]:
            raise UserError(
                f"model: in training its outputs are a {type(trained).__name__} of another form than in evaluation; "
                "it is to return the logits alone"
            )


def _check_channels(model: torch.nn.Module, config: Mapping[str, Any]) -> None:
    """Raise UserError where a model's first convolution takes another number of channels than its data set has."""
    name, shape = config["dataset"]["name"], config["dataset"]["input_shape"]
    first = next((layer for layer in model.modules() if isinstance(layer, _ConvNd)), None)
    if first is not None and len(shape) == 1 + len(first.kernel_size) and first.in_channels != shape[0]:
        wanted = [first.in_channels, *shape[1:]]
        mend = f"dataset.input_shape={wanted} repeats it" if shape[0] == 1 else f"it needs examples of shape {wanted}"
        raise UserError(
            f"model={shown(config['model']['name'])} takes {first.in_channels} channels, and dataset={shown(name)} has "
            f"{shape[0]}; {mend.replace(', ', ',')}"
        )


def _check_tokens(model: torch.nn.Module, config: Mapping[str, Any]) -> None:
    """Raise UserError where a model takes tokens and its data set has numbers, or the other way round."""
    has, takes = not input_dtype(config).is_floating_point, any(isinstance(m, Embedding) for m in model.modules())
    if has != takes:
        names = f"model={shown(config['model']['name'])}", f"dataset={shown(config['dataset']['name'])}"
        words = ("tokens", "numbers") if takes else ("numbers", "tokens; model=lstm and model=transformer take them")
        raise UserError(f"{names[0]} takes {words[0]}, and {names[1]} has {words[1]}")


def input_dtype(config: Mapping[str, Any]) -> torch.dtype:
    """Return the type of the examples that a config's networks take: int64 for tokens."""
    dtype: torch.dtype = getattr(torch, config["dataset"].get("input_dtype", "float32"))
    return dtype


def load_data(cells: Sequence[Cell], data_dir: Path, download: bool = True) -> dict[str, Problem]:
    """Return each data set that `cells` need, by `data_key`. Raises UserError where a data set does not fit a cell.

    Without `download`, a data set that would have to be downloaded is left out.
    """
    loaded: dict[str, Problem] = {}
    absent: set[str] = set()
    pictures: dict[str, Examples] = {}  # of data sets that differ in their augmentation alone
    for cell in cells:
        config = cell.config["dataset"]
        if data_key(cell) in absent:
            continue
        if data_key(cell) not in loaded:
            same = json.dumps(without(config, "augment"), sort_keys=True)
            try:
                problem = pictures[same] if same in pictures else _data(cell, data_dir, download)
            except NotHereError:
                absent.add(data_key(cell))
                continue
            if isinstance(problem, Examples):
                if same in pictures:
                    problem = dataclasses.replace(problem, augment=config["augment"])
                problem = repeat_channel(problem, config["input_shape"])
                shapes = config["input_shape"], config["num_classes"], config.get("label_shape", [])
                check_examples(problem, config["name"], *shapes)
                if config.get("augment") == problem.augment:  # the function hands it on
                    pictures[same] = problem
            _check_scores(problem, config["name"])
            loaded[data_key(cell)] = problem
        _check_lengths(cell.config, loaded[data_key(cell)])
    return loaded


def _check_scores(problem: Problem, name: str) -> None:
    """Raise UserError for scores of which no table can be made."""
    names, headline = measured(problem), problem.headline.name
    tables = {EVALUATIONS_FILE: evaluation_columns(names), LEVELS_FILE: level_columns(names, headline)}
    try:
        sound = all(columns_of(file, columns).keys() == columns.keys() for file, columns in tables.items())
    except ValueError:
        sound = False
    if not sound:
        raise UserError(
            f"dataset={shown(name)}: it measures {shown(', '.join(names))} and chooses by {shown(headline)}; all "
            "splits have the same scores, in small letters, and training has a loss"
        )


def _data(cell: Cell, data_dir: Path, download: bool) -> Problem:
    """Return a cell's data set. Its function is given `download`, and fields that say only how, where it names them."""
    function = make(cell.config, "dataset")
    with _blamed_on("dataset", cell.config):
        said = {**cell.how.get("dataset", {}), **({} if download else {"download": False})}
        named = said.keys() & inspect.signature(function).parameters.keys() if said else ()
        problem: Problem = function(data_dir, **{name: said[name] for name in named})
    return problem


def _check_lengths(config: Mapping[str, Any], problem: Problem) -> None:
    """Raise UserError where a config asks for what its data set has not, or for more steps than a level has."""
    problem.check(asked_of(config))
    if config.get("stop") and (check := getattr(make(config, "stop"), "check", None)):
        better = {f"{split}_{score.name}": score.better for score in problem.scores for split in score.splits}
        check(config["validation"], config.get("evaluate_train", True), better)
    steps, epoch = lengths(config, problem)
    make(config, "method").check_length(Length(steps, epoch))
    if (config["evaluate_every"] or 0) > steps:
        raise UserError(f"evaluate_every={config['evaluate_every']} is more than the {steps} iterations of a level")
    if config["lr"].get("warmup", 0) > steps > 0:
        raise UserError(f"lr.warmup={config['lr']['warmup']} is more than the {steps} iterations of a level")


def asked_of(config: Mapping[str, Any], processes: int = 1) -> Asked:
    """Return what a cell asks of its data set, trained by so many processes of torchrun."""
    own = {name: config["dataset"][name] for name in ("input_shape", "num_classes")}
    named = {field.name for field in dataclasses.fields(Asked)} & config.keys()  # older cells lack some
    asked = own | {name: config[name] for name in named - {"dataset"}}
    return Asked(**asked, dataset=config["dataset"]["name"], processes=processes)


def make(config: Mapping[str, Any], group: str) -> Any:
    """Return a group's target, instantiated with the fields meant for it. Raises UserError for a YAML's mistakes."""
    left_out = ("name", *_NOT_TAKEN.get(group, ()))
    fields = {name: copy.deepcopy(value) for name, value in config[group].items() if name not in left_out}
    with _blamed_on(group, config):
        made = instantiate(fields, _convert_="all")
        return with_own_dropout(made) if isinstance(made, torch.nn.Module) else made


def call(config: Mapping[str, Any], group: str, *arguments: Any) -> Any:
    """Return the result of a group that is a function, called with `arguments`."""
    function = make(config, group)
    with _blamed_on(group, config):
        return function(*arguments)


@contextlib.contextmanager
def _blamed_on(group: str, config: Mapping[str, Any]) -> Iterator[None]:
    """Turn an error of a group's target into a UserError that shows the group's fields."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
        if isinstance(cause, UserError):
            raise cause from error
        fields = " ".join(
            f"{group}.{name}={shown(value)}" for name, value in config[group].items() if not name.endswith("_")
        )
        says = shown(str(cause), _SAYS)
        if "required positional argument" in says and "_partial_" not in config[group]:
            says += "; what is called later with what it lacks needs _partial_: true"
        raise UserError(f"{group}: {says} (with {fields})") from error


def prunable_layers(config: Mapping[str, Any], model: torch.nn.Module) -> list[Layer]:
    """Return the prunable weights of `model`, by its YAML's fields `prunable` and `output`."""
    with _blamed_on("model", config):
        return layers_of(model, config["model"].get("prunable"), config["model"].get("output"))


def rates_of(config: Mapping[str, Any], layers: Sequence[Layer]) -> dict[str, float]:
    """Return layer name -> pruning rate, from the group prune_rate."""
    rates: dict[str, float] = call(config, "prune_rate", layers)
    return rates


def lengths(config: Mapping[str, Any], problem: Problem) -> tuple[int, int]:
    """Return the numbers of optimizer steps in a level and in an epoch."""
    epoch = problem.epoch(config["batch_size"], config["validation"])
    return (config["epochs"] * epoch if config["iterations"] is None else config["iterations"]), epoch


def program_of(
    cell: Cell,
    problem: Problem,
    device: torch.device,
    checkpoint_every: float,
    measurements: Mapping[str, Measurement] | None = None,
    done: Mapping[str, int] | None = None,
    keep: Collection[int] = (),
    root: Path = Path(ROOT),
) -> Program:
    """Return the part of a stack that `cell` shares with its other cells, with the problem on `device`.

    root: the folder of the studies. Raises UserError where a saved ticket in it is not what the cell names.
    """
    config = cell.config
    model, method = make(config, "model"), make(config, "method")
    steps, epoch = lengths(config, problem)
    if isinstance(problem, Examples | Streamed):
        problem = dataclasses.replace(problem, label_smoothing=config.get("label_smoothing", 0.0))
        if config.get("evaluate_test"):
            problem = problem.with_test(config["evaluate_test"])
    return Program(
        model=model,
        layers=prunable_layers(config, model),
        problem=problem.to(device),
        method=with_ticket(method, root) if isinstance(method, Transfer) else method,
        make_optimizer=make(config, "optimizer"),
        levels=config["levels"],
        steps=steps,
        steps_per_epoch=epoch,
        evaluate_every=config["evaluate_every"],
        batch_size=config["batch_size"],
        validation=config["validation"],
        checkpoint_every=checkpoint_every,
        device=device,
        precision=config["precision"],
        clip=config.get("clip"),  # older cells have no such field, nor the next
        evaluate_train=config.get("evaluate_train", True),
        stop=make(config, "stop") if config.get("stop") else None,
        measurements=measurements or {},
        done=done or {},
        keep=keep,
    )


def member_of(
    cell: Cell,
    program: Program,
    initial: Tensors | None = None,
    recorded: Callable[[int], Tensors | None] = lambda level: None,
    kept: Callable[[int, int], Tensors] = nothing_kept,
    dense: Tables | None = None,
    root: Path = Path(ROOT),
) -> Member:
    """Return `cell`'s own part of a stack, with its recorded weights and masks, or drawn and dense."""
    config = cell.config
    optimizer = config["optimizer"]
    if initial is None:
        initial = initial_weights(config, program.model, root)
        if isinstance(program.method, Transfer):
            initial = program.method.initial(initial)
    return Member(
        key=cell.key,
        seed=config["seed"],
        init=init_of(config, root),
        schedule=make(config, "lr"),
        group=cell.optimizer_group,
        settings={"weight_decay": optimizer["weight_decay"]} if "weight_decay" in optimizer else {},
        rates=rates_of(config, program.layers),
        initial=initial,
        recorded=recorded,
        kept=kept,
        dense=dense,
    )


def initial_weights(config: Mapping[str, Any], model: torch.nn.Module, root: Path = Path(ROOT)) -> Tensors:
    """Return the weights that a cell's seed draws for its model, with the model's own buffers, name -> (*shape)."""
    return draw(model, init_of(config, root), config["seed"], "init")


def init_of(config: Mapping[str, Any], root: Path = Path(ROOT)) -> Init:
    """Return a config's initialization, with the weights of the source that it names, if it does."""
    init: Init = make(config, "init")
    return with_weights(init, root) if isinstance(init, Like) else init


def with_weights(init: Like, root: Path) -> Like:
    """Return the initialization with the weights of its source. Raises UserError, as `Saved.read` does."""
    weights, masks = _read(init.source, init.step, root, init.source_sha256)
    same = init.draw == "same"  # which has zeros in the places of the others
    kept = {
        name: values.ravel() if name not in masks else (values * masks[name]).ravel() if same else values[masks[name]]
        for name, values in weights.items()
    }
    return dataclasses.replace(
        init, weights={name: (weights[name].shape, torch.from_numpy(values)) for name, values in kept.items()}
    )


@functools.lru_cache(maxsize=4)  # each cell of a stack asks for it
def _read(source: str, step: int | None, root: Path, sha256: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return saved(source, step, root, SOURCE).read(sha256)


def with_ticket(method: Transfer, root: Path) -> Transfer:
    """Return the method with the tensors of the saved ticket that it names. Raises UserError, as `Saved.read` does."""
    weights, masks = saved(method.ticket, method.step, root).read(method.ticket_sha256)
    initial = {name: torch.from_numpy(value) for name, value in weights.items()}
    return dataclasses.replace(
        method, source=Ticket(initial, {name: torch.from_numpy(mask).float() for name, mask in masks.items()})
    )


def make_measurements(chosen: Mapping[str, Any]) -> dict[str, Measurement]:
    """Return name -> measurement for the choices of the group measure. Raises UserError if one cannot be built."""
    return {name: make({name: fields}, name) for name, fields in chosen.items()}


def check_measurements(cells: Sequence[Cell], measurements: Iterable[Measurement]) -> None:
    """Raise UserError for the first model of the cells that a measurement cannot measure."""
    checks = [check for one in measurements if (check := getattr(one, "check", None))]
    for cell in {json.dumps(cell.config["model"]): cell for cell in cells if checks}.values():
        with on_meta():
            model = make(cell.config, "model")
        for check in checks:
            check(model)


def data_key(cell: Cell) -> str:
    """Return a cell's config of its data set, as text."""
    return json.dumps(cell.config["dataset"], sort_keys=True)
