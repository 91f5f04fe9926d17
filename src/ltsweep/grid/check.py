"""The check of a cell's config: its groups, and the range of each value."""

import math
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from ltsweep.errors import UserError, did_you_mean
from ltsweep.grid.key import NEUTRAL
from ltsweep.grid.rules import Rule, any_of, each, flag, name_of, number, once, one_of, rule_from, shape, whole
from ltsweep.schema import SETTINGS
from ltsweep.words import shown

# Folders of conf/ that are not groups of a cell: they fill in other groups, or say where and how to compute.
_NOT_OF_A_CELL = ("experiment", "hydra", "measure", "__pycache__")

# The groups of a cell: the folders of conf/.
GROUPS = tuple(
    sorted(path.name for path in files("ltsweep.conf").iterdir() if path.is_dir() and path.name not in _NOT_OF_A_CELL)
)

VALUES = (
    "seed",
    "levels",
    "epochs",
    "iterations",
    "batch_size",
    "validation",
    "evaluate_every",
    "evaluate_train",
    "evaluate_test",
    "precision",
    "label_smoothing",
    "clip",
)
OPTIONAL = ("iterations", "evaluate_every", "evaluate_test", "clip")

_SHARE = number(0, 1, below=True)
_SHAPE = shape(whole(1, 1_000_000))
_MEAN, _STD = number(-math.inf, math.inf).in_words("a number"), number(0, math.inf, above=True)

# Dotted name -> the rule of its value, for the values, and for fields that several choices of a group have. A field of
# one choice has its rule in that choice's YAML. A name that a config lacks is not checked.
RULES: dict[str, Rule] = {
    **{f"{group}.name": name_of() for group in GROUPS},
    "seed": whole(0, 2**63 - 1),
    "levels": whole(0, 1_000),
    "epochs": whole(1, 100_000),
    "iterations": whole(0, 1_000_000_000),
    "batch_size": whole(1, 1_000_000_000),
    "validation": whole(0, 1_000_000_000),
    "evaluate_every": whole(1, 1_000_000_000),
    "evaluate_train": any_of(flag(), whole(1, 1_000_000_000)),
    "evaluate_test": whole(1, 1_000_000_000),
    "precision": one_of("float32", "tf32", "bf16"),
    "label_smoothing": number(0, 1, below=True),
    "clip": number(0, math.inf, above=True),
    "lr.value": number(0, math.inf, above=True),
    "lr.warmup": whole(0, 1_000_000_000),
    "prune_rate.value": number(0, 1, above=True, below=True),
    "prune_rate.conv": _SHARE,
    "prune_rate.fc": _SHARE,
    "prune_rate.output": _SHARE,
    "optimizer.weight_decay": number(0, 1_000),
    "optimizer.momentum": number(0, 1, below=True),
    "optimizer.nesterov": flag(),
    "model.negative_slope": number(0, 1),
    "method.draws": whole(1, 1_000),
    "dataset.input_shape": _SHAPE,
    "dataset.num_classes": whole(1, 1_000_000),
    "dataset.input_dtype": one_of("float32", "int64"),
    "dataset.label_shape": each(whole(1, 1_000_000)),
    "model.input_shape": _SHAPE,  # by default those of the data set, which come first
    "model.num_classes": whole(1, 1_000_000),
    "dataset.mean": any_of(_MEAN, each(_MEAN)),
    "dataset.std": any_of(_STD, each(_STD)),
    "dataset.augment": once("crop", "flip", "cutout"),
}

_ABSENT = object()


def check(plain: Mapping[str, Any], rules: Mapping[str, Any] | None = None) -> None:
    """Raise UserError for the first value out of range, an unknown or missing name, or a group without a choice.

    rules: those of the chosen YAMLs, dotted name -> a rule as `rules.rule_from` reads it.
    """
    unknown, names = [name for name in plain if name not in (*GROUPS, *VALUES)], (*VALUES, *SETTINGS[:-1], *GROUPS)
    if unknown:
        raise UserError(
            f"{shown(unknown[0])} is not a name of the config; {did_you_mean(unknown[0], names)}"
            f"there are {', '.join(names)}"
        )
    missing = [name for name in VALUES if name not in plain and name not in NEUTRAL]  # older cells lack those
    if missing:
        raise UserError(f"{missing[0]} was removed from the config, and is needed")
    for group in GROUPS:
        choice = plain.get(group)
        if choice is None and group in NEUTRAL:  # none is chosen, nor had older cells one
            continue
        if not isinstance(choice, Mapping) or not all(isinstance(choice.get(n), str) for n in ("name", "_target_")):
            raise UserError(
                f"{group}={shown(choice)} is not a choice of the group {group}; its YAML needs name and _target_"
            )
    own = {name: rule_from(name, given) for name, given in (rules or {}).items()}
    for name, (holds, allowed) in (own | RULES | own).items():  # a choice's own first: shapes follow from some of them
        value = _select(plain, name)
        if value is _ABSENT or (value is None and name in OPTIONAL):
            continue
        if not holds(value):
            raise UserError(f"{name}={shown(value)} is out of range: {name} is {allowed}")


def _select(plain: Mapping[str, Any], name: str) -> Any:
    node: Any = plain
    for part in name.split("."):
        node = node.get(part, _ABSENT) if isinstance(node, Mapping) else _ABSENT
    return node
