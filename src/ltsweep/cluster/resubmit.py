"""Failed cells submitted again. The cells are the study's; the settings are the user's, never the study's alone."""

import json
import os
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ltsweep.cluster import ledger
from ltsweep.cluster.options import RULES, Options, options_from
from ltsweep.cluster.submit import array_sizes, check_options, count_cells, make_packs, script, settings_for, submit
from ltsweep.cluster.watch import Watch
from ltsweep.errors import UserError
from ltsweep.grid.cell import Cell, register_resolver
from ltsweep.grid.check import check
from ltsweep.grid.hints import hint
from ltsweep.grid.key import key
from ltsweep.grid.sources import check_sources
from ltsweep.grid.sweep import check_launcher
from ltsweep.grid.targets import check_targets
from ltsweep.run.build import check_configs, check_outputs, load_data
from ltsweep.run.settings import Settings, settings_from
from ltsweep.schema import CONFIG
from ltsweep.store.folder import statuses_of
from ltsweep.store.hold import hold
from ltsweep.words import shown

# Overrides that say where and how to compute; a cell's own values stay as they are.
_TAKEN = ("data_dir", "device", "workers", "stack_size", "checkpoint_every", "measure")
# Options of the launcher that say how the command waits, not what a task asks for.
_WAITING = ("wait", "dry_run", "poll_seconds")
# Options and settings that can run code: they are never copied from a study, and only named.
_NAMED_ALONE = ("setup", "additional_parameters", "measure")
# Keys that a message names.
_NAMED = 3
# Characters of a text that is shown to be copied.
_MOST = 200


def given_settings(overrides: Sequence[str], config_dir: Path | None, study: Path) -> tuple[Settings, Options]:
    """Return the settings and options that overrides give, as the command composes them; the preset is `slurm`.

    Raises UserError for overrides that Hydra refuses, of a cell's own values, or for another launcher.
    """
    config = _composed(overrides, config_dir)
    launcher = config.hydra.launcher
    given = OmegaConf.to_container(launcher, resolve=True) if OmegaConf.is_config(launcher) else {}
    assert isinstance(given, dict)
    target = str(given.pop("_target_", None))
    if target != "hydra_plugins.ltsweep_launcher.slurm.SlurmLauncher":
        raise UserError(f"cells are submitted to Slurm, by hydra/launcher=slurm or a preset of it, not {shown(target)}")
    return settings_from(config, study), options_from({str(name): value for name, value in given.items()})


def resubmit(
    failed: Sequence[Cell], cells: Sequence[Cell], settings: Settings, options: Options, allowed: Sequence[str]
) -> None:
    """Submit failed cells again, with the other cells of their tasks. `cells`: all cells of the study.

    allowed: modules of the user's own that the cells' configs may name. Raises UserError if one of the failed cells was
    never submitted to Slurm, or its config would run other code.
    """
    study = settings.study
    for_tasks = settings_for(settings, options)
    check_options(options, study)
    with hold(study):
        holders = ledger.holders(study)
        strangers = [cell.key for cell in failed if cell.key not in holders]
        if strangers:
            raise UserError(
                f"{len(strangers)} failed cells ({', '.join(strangers[:_NAMED])}) were not submitted to Slurm; "
                "the command that computed them tries them again"
            )
        # With the other cells of the task, since a failed cell goes on only in the stack it was in.
        found = [holders[cell.key] for cell in failed]
        keys = {key for task, submission in found for key in submission.tasks[task]}
        standings = Watch(study).look(sorted(keys))
        free = [cell for cell in cells if cell.key in keys and not standings[cell.key].queued]
        busy = keys - {cell.key for cell in free}
        _print_busy({str(standings[cell.key].task) for cell in failed if cell.key in busy})
        if not free:
            return
        for cell in free:
            check_targets(cell.config, f"{study / cell.key / CONFIG}", allowed)
            _check_whole(cell, study)
        check_configs(free, study.absolute().parent)
        check_outputs(free)
        load_data(free, Path(for_tasks["data_dir"]))
        last = max((submission for _, submission in found), key=lambda submission: submission.submitted)
        if line := differing(last, options, for_tasks):
            print(line, file=sys.stderr)
        packs = make_packs(free, study, statuses_of(free, study), for_tasks, options)
        if options.dry_run:
            for size in dict.fromkeys(array_sizes(len(packs))):
                print(f"\n{script(study, options, size)}", file=sys.stderr)
            return
        tasks = submit(packs, study, for_tasks, options)
        print(f"{sum(count_cells(packs))} cells submitted again as {len(tasks)} tasks", file=sys.stderr)


def differing(last: ledger.Submission, options: Options, settings: Mapping[str, Any]) -> str:
    """Return a line on how the last submission was asked for, where that differs; empty where it does not.

    Plain values are shown as overrides that can be copied. Whatever could run code is named, and not shown.
    """
    now = {f"hydra.launcher.{name}": value for name, value in asdict(options).items() if name not in _WAITING}
    before = {f"hydra.launcher.{name}": last.options[name] for name in RULES if name in last.options}
    now, before = {**now, **settings}, {**before, **last.settings}
    copied, named = [], []
    for name, value in now.items():
        if name in before and before[name] != value:
            can_run = name.removeprefix("hydra.launcher.") in _NAMED_ALONE
            override = None if can_run else _override(name, before[name])
            copied += [override] if override else []
            named += [] if override else [name]
    parts = [f"had {' '.join(copied)}"] * bool(copied) + [f"had another {' and '.join(named)}"] * bool(named)
    return f"the last submission {', and '.join(parts)}" if parts else ""


def _override(name: str, value: object) -> str | None:
    """Return an override for the shell that gives a plain value; None for a value that no such override gives."""
    if not isinstance(value, str | int | float | None) or len(str(value)) > _MOST or not str(value).isprintable():
        return None
    plain = value if isinstance(value, str) else json.dumps(value)
    for text in (plain, f'"{plain}"'):
        with suppress(HydraException):
            parsed = OverridesParser.create().parse_override(f"{name}={text}")
            if not parsed.is_sweep_override() and "$" not in text and parsed.value() == value:
                return shlex.quote(f"{name}={text}")
    return None


def _composed(overrides: Sequence[str], config_dir: Path | None) -> DictConfig:
    """Return the config that the command would compose, from conf/ and the user's folder."""
    if config_dir is not None and not config_dir.is_dir():
        raise UserError(f"--config-dir {shown(str(config_dir))} is not a folder")
    chosen = [_checked(override) for override in overrides]
    if "hydra/launcher" not in chosen:
        overrides = ["hydra/launcher=slurm", *overrides]
    path = create_config_search_path("pkg://ltsweep.conf")
    if config_dir is not None:
        here = f"file://{os.path.abspath(config_dir)}"
        path.prepend("command-line", here, SearchPathQuery(provider="schema"))  # as --config-dir of the command
    register_resolver()
    try:
        hydra = Hydra.create_main_hydra2("ltsweep", path)
        check_sources(hydra.config_loader.get_sources())
        config = hydra.compose_config(
            "config", list(overrides), run_mode=RunMode.RUN, from_shell=False, with_log_configuration=False
        )
        OmegaConf.resolve(config.hydra.launcher)
    except UserError:
        raise
    except Exception as error:  # whatever a user's YAML makes Hydra raise
        said = str(error).partition("\nConfig search path")[0]
        raise UserError(hint(error) or f"the settings cannot be composed: {shown(said, 400)}") from error
    finally:
        GlobalHydra.instance().clear()
    return config


def _checked(override: str) -> str:
    """Return the name of an override. Raises UserError unless it is one value of a setting or of the launcher."""
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException as error:
        raise UserError(f"{shown(override)} is not an override: {shown(str(error))}") from error
    name = parsed.key_or_group
    if name.partition(".")[0] not in _TAKEN and name != "hydra/launcher" and not name.startswith("hydra.launcher."):
        raise UserError(
            f"{shown(override)}: a cell is submitted again as it is; what may be chosen is hydra/launcher, "
            f"hydra.launcher.NAME, {', '.join(_TAKEN)}"
        )
    if parsed.is_sweep_override():
        raise UserError(f"{shown(override)}: a submission has one {name}; give it one value")
    if name == "hydra/launcher":
        check_launcher(parsed.value())
    return str(name)


def _check_whole(cell: Cell, study: Path) -> None:
    """Raise UserError, with the file's name, for a config that lacks what every cell has, or of an older version."""
    if cell.key != key(cell.config):
        raise UserError(f"{study / cell.key} is of an older ltsweep, whose cells are read and not gone on from")
    try:
        check(cell.config)
    except UserError as error:
        raise UserError(f"{study / cell.key / CONFIG}: {shown(str(error), 400)}") from error


def _print_busy(tasks: Collection[str]) -> None:
    """Print which tasks still run, if any, and so keep failed cells from being submitted."""
    if tasks:
        running = ", ".join(sorted(tasks))
        print(f"task {running} still runs; its failed cells can be submitted when it ends", file=sys.stderr)
