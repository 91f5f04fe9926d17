"""What a config read from a study may instantiate. A study may come from a stranger, and instantiating runs code."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra._internal.utils import _locate

from ltsweep.errors import UserError
from ltsweep.words import shown

# Modules whose public functions and classes a study may name: the package's choices, with their submodules, and those
# of torch and torchvision that make networks and optimizers and neither read, write nor run anything.
_OURS = tuple(
    f"ltsweep.{name}" for name in ("models", "init", "optim", "prune", "method", "measure", "data", "lottery.stop")
)
_TORCH = (
    "torch.nn",
    "torch.nn.functional",
    "torch.nn.init",
    "torch.optim",
    "torchvision.models",
    "torchvision.ops",
)


def check_targets(config: Mapping[str, Any], where: str, allowed: Sequence[str] = ()) -> None:
    """Raise UserError unless all that a config would instantiate is allowed, however deep in it.

    where: the config in words, such as its path. allowed: modules that the user names, their submodules included.
    """
    for place, value in _texts(config):
        if place.rpartition(".")[2] == "_target_":
            _check(value, f"{where}: {shown(place)}", allowed)
        elif isinstance(value, str) and "${" in value:  # a resolved config has none, and Hydra would run its resolver
            raise UserError(f"{where}: {shown(place)}={shown(value)} is an interpolation, and none is resolved")


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, value) for every text in a config, every name among them, and for whatever a target is."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            inside = f"{place}.{name}" if place else str(name)
            yield place, name
            if name == "_target_":
                yield inside, inner
            else:
                yield from _texts(inner, inside)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{place}[{number}]")
    elif isinstance(value, str):
        yield place, value


def _check(target: object, where: str, allowed: Sequence[str]) -> None:
    """Raise UserError unless a target is a public function or class of an allowed module, which defines it."""
    said = f"{where}={shown(target)}"
    if not isinstance(target, str) or not all(part.isidentifier() for part in target.split(".")):
        raise UserError(f"{said} is no dotted name of a function or class")
    module, _, name = target.rpartition(".")
    roots = [root for root in (*_OURS, *allowed) if module == root or module.startswith(f"{root}.")]
    roots += [root for root in _TORCH if module == root]
    if not roots:
        raise UserError(
            f"{said} is not a choice of ltsweep, torch.nn, torch.optim or torchvision.models, and a study may come "
            f"from a stranger; if you trust the module {shown(module or target)}: --allow {shown(module or target)}"
        )
    try:
        found = _locate(target)
    except Exception as error:
        raise UserError(f"{said} cannot be imported: {shown(str(error))}") from error
    home = str(getattr(found, "__module__", ""))
    at_home = any(home == root or home.startswith(f"{root}.") for root in roots)
    if name.startswith("_") or not at_home or not (inspect.isfunction(found) or inspect.isclass(found)):
        raise UserError(f"{said} is not a public function or class that {roots[0]} defines")
