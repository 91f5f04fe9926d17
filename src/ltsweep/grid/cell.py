"""The cell: one point of the grid, as a resolved and checked config, with the key that names its results."""

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ltsweep.errors import UserError, said_within
from ltsweep.grid.check import GROUPS, check
from ltsweep.grid.key import digest, key, without
from ltsweep.grid.rules import number, whole
from ltsweep.schema import SETTINGS
from ltsweep.words import shown

# Dotted names of the values that may differ within a stack; cells that differ in any other value are not stacked.
WITHIN_STACK = ("seed", "init", "prune_rate", "lr.value", "optimizer.weight_decay")

# Fields that say only how to compute, though a YAML need not list them under `how`: largest_stack is older than `how`.
_HOW = {"model": ("largest_stack",)}

_NUMBER = number(-math.inf, math.inf)


@dataclass(frozen=True)
class Cell:
    """A resolved config without the fields that say only how to compute, and its key: 16 hexadecimal digits.

    how: group -> those fields of its choice, which are neither in the config nor in the key. They decide at most the
    size of a stack, and so the rounding.
    """

    config: Mapping[str, Any]
    key: str
    how: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @functools.cached_property
    def stack_key(self) -> str:
        """Return a hash of all values that the cells of a stack must have in common."""
        return digest(without(self.config, *WITHIN_STACK))

    @functools.cached_property
    def optimizer_group(self) -> tuple[float, float, str]:
        """Return a sortable value that is equal for cells of one learning-rate schedule and optimizer.

        It sorts by learning rate, then by weight decay; a value that is not a number counts as 0.
        """
        lr, optimizer = self.config["lr"], self.config["optimizer"]
        values = (lr.get("value"), optimizer.get("weight_decay"))
        rate, decay = (float(value) if _NUMBER.holds(value) else 0.0 for value in values)
        return rate, decay, json.dumps([lr, optimizer], sort_keys=True)

    @property
    def largest_stack(self) -> Mapping[str, int]:
        """Return `cpu` or `cuda` -> number of networks worth training as one program, from the model's YAML."""
        found: Mapping[str, int] = self.how.get("model", {}).get("largest_stack") or {}
        return found


def from_config(config: DictConfig) -> Cell:
    """Return the cell of a composed config, with or without Hydra's own node. Raises UserError for a bad value."""
    plain, rules, how = _taken_apart(config)
    check(plain, rules)
    cell = Cell(plain, key(plain), how)
    _check_largest_stack(cell.largest_stack)
    return cell


def resolved(config: DictConfig) -> dict[str, Any]:
    """Return the config as plain containers, interpolations resolved, without the settings and the fields of `how`."""
    return _taken_apart(config)[0]


def _taken_apart(config: DictConfig) -> tuple[dict[str, Any], dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the config, the rules that its choices bring (dotted name -> rule), and their fields listed in `how`."""
    # Hydra's own node stays out: it is large, and not yet fully resolvable.
    names = [str(name) for name in config if name != "hydra"]
    own = OmegaConf.masked_copy(config, names) if "hydra" in config else config
    try:
        plain = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        if said := said_within(error):
            raise UserError(said) from None
        raise UserError(" ".join(str(error).split())) from error
    assert isinstance(plain, dict)
    rules: dict[str, Any] = {}
    how: dict[str, dict[str, Any]] = {}
    for group in GROUPS:
        choice = plain.get(group)
        if isinstance(choice, dict):
            given, listed = choice.pop("rules", None) or {}, choice.pop("how", None) or []
            _check_own(group, given, listed)
            fields = [*listed, *_HOW.get(group, ())]
            rules |= {f"{group}.{name}": rule for name, rule in given.items()}
            how[group] = {name: choice.pop(name) for name in fields if name in choice}
    return {str(name): value for name, value in plain.items() if name not in SETTINGS}, rules, how


def _check_own(group: str, rules: object, how: object) -> None:
    """Raise UserError unless `rules` and `how` of a choice's YAML are of their form."""
    if not isinstance(rules, dict):
        raise UserError(f"{group}.rules={shown(rules)} is out of range: it is {{FIELD: RULE, ...}}")
    if not isinstance(how, list) or not all(isinstance(name, str) for name in how):
        raise UserError(f"{group}.how={shown(how)} is out of range: it is a list of fields, such as [largest_stack]")


def _check_largest_stack(found: object) -> None:
    size = whole(1, 2**63 - 1)
    if not isinstance(found, dict) or not all(kind in ("cpu", "cuda") and size.holds(n) for kind, n in found.items()):
        raise UserError(
            f"model.largest_stack={shown(found)} is out of range: it is {{cpu: N, cuda: N}}, whole numbers from 1"
        )


def cell_key(*, _root_: DictConfig) -> str:
    """Return the value of `${cell_key:}`, which names a cell's folder by its key under every launcher."""
    return key(resolved(_root_))


def register_resolver() -> None:
    """Make `${cell_key:}` known to OmegaConf."""
    OmegaConf.register_new_resolver("cell_key", cell_key, replace=True)
