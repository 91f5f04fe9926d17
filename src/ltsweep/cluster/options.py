"""The settings of `hydra/launcher=slurm`, checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ltsweep.errors import UserError, did_you_mean
from ltsweep.grid.rules import Rule, either, flag, lines, number, text, whole
from ltsweep.words import shown

# Seconds before a task's end at which it is told to stop, at most: a checkpoint takes a few, Slurm's requeue some more.
_SIGNAL_DELAY = 90


@dataclass(frozen=True)
class Options:
    """The settings of `hydra/launcher=slurm`; conf/hydra/launcher/slurm.yaml says what each does."""

    cells_per_task: int | str
    partition: str | None
    account: str | None
    qos: str | None
    constraint: str | None
    timeout_min: int
    gpus_per_node: int
    cpus_per_task: int
    mem_gb: float | None
    setup: list[str]
    additional_parameters: dict[str, Any]
    array_parallelism: int
    signal_delay_s: int | str
    max_requeues: int
    wait: bool
    dry_run: bool
    poll_seconds: float

    @property
    def signal_delay(self) -> int:
        """Return the seconds before its end at which a task is told to stop; of a short task at most a quarter."""
        if isinstance(self.signal_delay_s, int):
            return self.signal_delay_s
        return min(_SIGNAL_DELAY, self.timeout_min * 60 // 4)


def _parameters() -> Rule:
    """Allow options of sbatch by name, or none."""
    is_text = text().holds

    def fits(given: Any) -> bool:
        return isinstance(given, int | float) or is_text(given)

    return Rule(
        lambda value: (
            value is None
            or (isinstance(value, dict) and all(is_text(name) and fits(given) for name, given in value.items()))
        ),
        "sbatch's own options by name, such as {exclusive: true}",
    )


_NAME = either(None, text()).in_words("null or a name")
_FROM_1 = "a whole number from 1"

# Name -> what its value must be.
RULES: dict[str, Rule] = {
    "cells_per_task": either("auto", whole(1, 100_000).in_words(_FROM_1)),
    "partition": _NAME,
    "account": _NAME,
    "qos": _NAME,
    "constraint": _NAME,
    "timeout_min": whole(1, 1_000_000).in_words("a whole number of minutes from 1"),
    "gpus_per_node": whole(0, 1_000).in_words("a whole number from 0"),
    "cpus_per_task": whole(1, 10_000).in_words(_FROM_1),
    "mem_gb": either(None, number(0, 100_000, above=True).in_words("a number above 0")),
    "setup": lines().in_words("a list of shell commands, each of one line"),
    "additional_parameters": _parameters(),
    "array_parallelism": whole(1, 100_000).in_words(_FROM_1),
    "signal_delay_s": either("auto", whole(1, 65_535).in_words("whole seconds from 1")),
    "max_requeues": whole(0, 10_000).in_words("a whole number from 0"),
    "wait": flag(),
    "dry_run": flag(),
    "poll_seconds": number(0, 15, above=True).in_words("a number of seconds above 0, up to 15"),
}


def options_from(given: Mapping[str, Any]) -> Options:
    """Return the options, each checked. Raises UserError for the first that is unknown, missing or out of range."""
    for name in given:
        if name not in RULES:
            hint = did_you_mean(name, RULES).rstrip(" ") or f"there are {', '.join(RULES)}"
            raise UserError(f"hydra.launcher.{shown(name)} is unknown; {hint}")
    for name, (holds, allowed) in RULES.items():
        if name not in given:
            raise UserError(f"hydra.launcher.{name} is missing; a preset begins with: defaults: [slurm]")
        if not holds(given[name]):
            raise UserError(f"hydra.launcher.{name}={shown(given[name])} is out of range: it is {allowed}")
    options = Options(**{**given, "additional_parameters": given["additional_parameters"] or {}})
    if options.signal_delay >= options.timeout_min * 60:
        raise UserError(
            f"hydra.launcher.signal_delay_s={options.signal_delay_s} is out of range: "
            f"a task has {options.timeout_min * 60} seconds"
        )
    return options
