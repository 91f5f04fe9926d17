"""Overrides -> cells, the same as Hydra's own, but a thousand of them in seconds."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf

from ltsweep.grid import cell
from ltsweep.grid.cell import Cell
from ltsweep.grid.check import GROUPS
from ltsweep.grid.overrides import numbered

_load = ConfigLoaderImpl.load_configuration


def load_configuration(
    loader: ConfigLoaderImpl, config_name: str | None, overrides: list[str], run_mode: RunMode, **given: Any
) -> DictConfig:
    """Return the config that Hydra's loader composes; that of a sweep, without fields of a group whose choice is swept.

    Hydra composes the config of `lr=warmup,cosine lr.warmup=5` with the default lr=constant, which has no warmup. The
    cells of the sweep take such a field, or refuse it by name.
    """
    if run_mode != RunMode.MULTIRUN:
        return _load(loader, config_name, overrides, run_mode, **given)
    parsed = OverridesParser.create().parse_overrides(overrides)
    fields = [one for one in parsed if _is_field(one)]
    config = _load(loader, config_name, [_line(one) for one in parsed if one not in fields], run_mode, **given)
    swept = [
        *(config.hydra.sweeper.get("params") or ()),
        *(one.key_or_group for one in parsed if one.is_sweep_override()),
    ]
    ConfigLoaderImpl._apply_overrides_to_config([one for one in fields if _group(one) not in swept], config)
    config.hydra.overrides.task = [_line(one) for one in parsed if not one.is_hydra_override()]
    return config


def _line(override: Override) -> str:
    assert override.input_line is not None
    return override.input_line


def _group(override: Override) -> str:
    return override.key_or_group.partition(".")[0]


def _is_field(override: Override) -> bool:
    """Return whether an override sets one value of a field of a group's choice, such as `lr.warmup`."""
    return "." in override.key_or_group and _group(override) in GROUPS and not override.is_sweep_override()


def compose_cells(context: HydraContext, config: DictConfig, job_overrides: Sequence[Sequence[str]]) -> list[Cell]:
    """Return the checked cell of each job of a sweep. `config` is the config that a launcher gets.

    Hydra takes tens of milliseconds to compose a config, nearly all for choosing files. So it composes once for each
    set of choices, with the values of the first job. Hydra's own function then sets the values of the other jobs
    (`seed=1 lr.value=0.1`) on the result. Jobs that set other names than the first job are composed anew.
    """
    loader = context.config_loader
    is_group = functools.cache(lambda name: bool(loader.get_group_options(name)))  # it searches all folders
    parser = OverridesParser.create(config_loader=loader)
    composed: dict[tuple[object, ...], DictConfig] = {}
    cells = []
    for given in job_overrides:
        overrides = [numbered(override) for override in given]
        parsed = parser.parse_overrides(overrides)
        values = [override for override in parsed if _is_value(override, is_group)]
        choices = tuple(str(override.input_line) for override in parsed if override not in values)
        which = (*choices, *(override.get_key_element() for override in values))
        if which not in composed:
            full = loader.load_sweep_config(config, overrides)
            HydraConfig.instance().set_config(full)
            composed[which] = OmegaConf.masked_copy(full, [str(name) for name in full if name != "hydra"])
        ConfigLoaderImpl._apply_overrides_to_config(values, composed[which])
        cells.append(cell.from_config(composed[which]))
    return cells


def _is_value(override: Override, is_group: Callable[[str], bool]) -> bool:
    """Return whether an override only sets a value: it neither chooses from a group nor merges a dict."""
    name = override.key_or_group
    return (
        override.type == OverrideType.CHANGE
        and override.package is None
        and not isinstance(override.value(), dict)
        and not name.startswith("hydra")
        and not is_group(name)
    )
