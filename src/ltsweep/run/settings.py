"""Settings: where and how a command computes its cells."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ltsweep.errors import UserError
from ltsweep.grid.objective import BEST
from ltsweep.words import shown


@dataclass(frozen=True)
class Settings:
    """Where and how to compute. No setting changes a draw, a batch or a key.

    The size of the stacks and the device decide how numbers are rounded. A given stack_size alone decides the stacks of
    new cells; with auto, workers and the free memory do too. The records say which stack and which device it was.

    checkpoint_every: seconds. measure: name -> the config of a measurement. objective: what a search reads of a cell.
    """

    study: Path
    data_dir: Path
    device: str = "auto"
    workers: int | str = "auto"
    stack_size: int | str = "auto"
    checkpoint_every: float = 10.0
    measure: dict[str, Any] = field(default_factory=dict)
    objective: str = BEST


def settings_from(config: DictConfig, study: Path) -> Settings:
    """Return the settings of a composed config, for results under `study`. Raises UserError for a bad value."""
    if not isinstance(config.force, bool):
        raise UserError(f"force={shown(config.force)} is out of range: force is true or false")
    seconds = config.checkpoint_every
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise UserError(
            f"checkpoint_every={shown(seconds)} is out of range: checkpoint_every is a number of seconds from 0"
        )
    if not isinstance(config.data_dir, str) or not config.data_dir.strip():
        raise UserError(
            f"data_dir={shown(config.data_dir)} is no folder; set data_dir or LTSWEEP_DATA, or take dataset=digits"
        )
    chosen = config.get("measure")
    found = OmegaConf.to_container(chosen, resolve=True) if OmegaConf.is_config(chosen) else {}
    assert isinstance(found, dict)
    measure = {str(name): one for name, one in found.items()}
    for name, one in measure.items():
        if not isinstance(one, dict) or "_target_" not in one:
            raise UserError(f"measure: {name} has no _target_; a YAML of this group is {{NAME: {{_target_: ...}}}}")
    names = ("device", "workers", "stack_size", "checkpoint_every", "objective")
    given = {name: config[name] for name in names}
    return Settings(study, Path(config.data_dir), **given, measure=measure)
