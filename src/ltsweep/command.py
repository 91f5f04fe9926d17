"""The command line: arguments -> Hydra -> a launcher. Every mistake of the user prints one line.

Exit codes: 0 every cell is finished, 1 some failed or could not be written, 2 a mistake to mend, 130 interrupted.
"""

import functools
import logging
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn, cast

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, OverrideParseException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ltsweep.errors import CannotWriteError, CellFailedError, UserError, interrupt_kept, loading
from ltsweep.grid import cell
from ltsweep.grid.compose import load_configuration
from ltsweep.grid.hints import hint
from ltsweep.grid.objective import check_objective
from ltsweep.grid.overrides import one_cell, rewrite
from ltsweep.grid.place import study_folder
from ltsweep.grid.sources import initialize_sources
from ltsweep.grid.sweep import check_launcher, check_sweep, watch_jobs
from ltsweep.words import shown

# Folders of this program: an error raised in them is a bug, and keeps its traceback.
_OURS = (Path(__file__).parent, Path(__file__).parents[1] / "hydra_plugins" / "ltsweep_launcher")

# Characters of a message: some list every choice of a group.
_LONGEST = 2_000

# Characters of a line of groups in the help, and Hydra's own way to list them.
_WIDTH = 110
_LIST_GROUPS = Hydra.format_config_groups

# Names of functions that pass the user's words to Hydra: an error that Hydra then raises is the user's mistake.
_COMPOSING = (
    "_run",
    "main",
    "_make_sweeper",
    "sweep",
    "composed",
    "load_configuration",
    "initialize_sources",
    "check_sources",
    "compose_cells",
    "_compose",
)


@hydra.main(config_path="pkg://ltsweep.conf", config_name="config", version_base="1.3")
def task(config: DictConfig) -> float:
    """Return the objective of one cell after running it. Hydra's stock launchers call this for each cell."""
    with loading():  # torch, which takes seconds
        from ltsweep.run.objective import outcome
        from ltsweep.run.prepare import prepare
        from ltsweep.run.settings import settings_from
        from ltsweep.run.study import run
        from ltsweep.show.streams import rest_in
        from ltsweep.show.table import LiveTable
        from ltsweep.store.hold import hold
        from ltsweep.store.records import forget

    one = cell.from_config(config)
    validation, train = one.config["validation"], one.config.get("evaluate_train", True)
    check_objective(config.objective, HydraConfig.get().sweeper._target_, [validation], [train])
    study = study_folder(config.study, HydraConfig.get())
    plan = prepare([one], settings_from(config, study), again=config.force)
    with hold(study / one.key):  # this cell only: the study's other cells run beside it
        rest_in(study)
        if config.force:
            forget(study, [one])
        statuses = run(plan, LiveTable(again=config.force))
    end = outcome(study, one, statuses[one.key], config.objective)
    if isinstance(end, Exception):
        raise end
    return end


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit, but for an interrupt, which the caller meets."""
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # Hydra prints many lines for an error; with this setting it raises the exception.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        sys.argv[1:] = _with_flags(rewrite(sys.argv[1:] if arguments is None else arguments))
        register_resolvers()
        _register_plugins()
        with interrupt_kept():
            _run()
    except CannotWriteError as error:
        if wants_traceback:
            raise
        _say(f"{error}; what was finished is kept, and the same command goes on from it")
        sys.exit(1)
    except CellFailedError as error:
        _say(str(error))
        sys.exit(1)
    except (UserError, HydraException, OmegaConfBaseException, OSError) as error:
        if wants_traceback:
            raise
        _say(one_line(error))
        sys.exit(2)
    except Exception as error:
        if wants_traceback or _is_ours(error):
            raise
        _say(f"{_plugin(error) or 'the config cannot be composed'}: {one_line(error)}")
        sys.exit(2)


def _run() -> None:
    """Let Hydra run the command, under torchrun in the first of its processes, along with which the others train."""
    hydra_runs = cast(Callable[[], None], task)
    if os.environ.get("WORLD_SIZE", "1") == "1" or "TORCHELASTIC_RUN_ID" not in os.environ:
        return hydra_runs()
    with loading():  # torch
        from ltsweep.run.together import follow, joined

    with joined() as is_first:
        return hydra_runs() if is_first else follow()


def register_resolvers() -> None:
    """Make the functions that conf/ calls by `${...}` known to OmegaConf."""
    cell.register_resolver()
    OmegaConf.register_new_resolver("ticket_sha256", _ticket_sha256, replace=True)


def _ticket_sha256(name: object, step: object, field: str = "method.ticket") -> str:
    """Return the value of `${ticket_sha256:NAME,STEP}`: by it, the key of a cell is of what a saved ticket holds.

    field: the name of the config that names the ticket, where it is another.
    """
    from ltsweep.store.saved import saved  # loads numpy

    return saved(name, step, field=field).sha256


def _say(text: str) -> None:
    print(f"ltsweep: {shown(text, _LONGEST)}", file=sys.stderr)


def _with_flags(arguments: Sequence[str]) -> list[str]:
    """Return the arguments, with `--cfg` and `--info` for one cell of a grid; `--cfg job` shows it resolved.

    Raises UserError for a flag that Hydra does not have; its own parser would print many lines.
    """
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; --hydra-help lists the flags")

    parser.error = refuse  # type: ignore[method-assign]
    if "--version" in arguments:
        print(f"ltsweep {version('ltsweep')}, Hydra {hydra.__version__}")
        sys.exit(0)
    given = parser.parse_intermixed_args(list(arguments))
    if given.experimental_rerun is not None:
        raise UserError("--experimental-rerun would load a pickle, which can run anything; type the command again")
    for argument in arguments:
        group, _, choice = argument.partition("=")
        if group == "hydra/launcher":
            check_launcher(choice)
    flags, overrides = [argument for argument in arguments if argument not in given.overrides], given.overrides
    if given.cfg is not None or given.info is not None:
        overrides, taken = one_cell(overrides)
        if taken:
            print(f"# one cell of the grid: {' '.join(taken)}")
        flags = [flag for flag in flags if flag not in ("-m", "--multirun")]
        flags += ["--resolve"] * (given.cfg == "job" and not given.resolve)
    return [*flags, *overrides]  # Hydra's own parser takes no overrides on both sides of a flag


def _is_ours(error: Exception) -> bool:
    """Return whether an error was raised in this program's own work, not while Hydra read the user's words."""
    codes = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    ours = [code for code in codes if any(Path(code.co_filename).is_relative_to(folder) for folder in _OURS)]
    # The innermost of these functions either passed the user's words to Hydra, or did its own work.
    return bool(ours) and (ours[-1] is codes[-1] or ours[-1].co_name not in _COMPOSING)


def _plugin(error: Exception) -> str:
    """Return the name of the foreign Hydra plugin in which an error was raised; empty without one."""
    paths = [Path(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(error.__traceback__)]
    return next((path.parent.name for path in paths if path.parent.parent.name == "hydra_plugins"), "")


def one_line(error: Exception) -> str:
    """Return an exception's message in one line, without Hydra's listing of its search path."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if line := hint(error):
        return line
    text = f"{shown(error.override)}: {shown(str(error))}" if isinstance(error, OverrideParseException) else str(error)
    if isinstance(error.__cause__, OmegaConfBaseException):
        text += f" {error.__cause__}"
    for tail in (
        "\nConfig search path:",
        "\n    full_key:",
        "\nfull_key:",
        "\nSee https://",
        " To append to your config",
        "\nTo append to your config",
    ):
        text = text.partition(tail)[0]
    return " ".join(text.split()).replace("Available options in", "; available in").replace("' ;", "';")


def _register_plugins() -> None:
    """Register our launchers and sweeper with Hydra, and check every sweep before Hydra makes its sweeper."""
    known = Plugins.instance()  # first: it loads anew Hydra's own sweeper, of which ours must be a subclass
    from hydra_plugins.ltsweep_launcher.grid import GridSweeper
    from hydra_plugins.ltsweep_launcher.local import LocalLauncher
    from hydra_plugins.ltsweep_launcher.slurm import SlurmLauncher

    # Hydra does not look for plugins in an editable install.
    for plugin in (GridSweeper, LocalLauncher, SlurmLauncher):
        known.register(plugin)
    known.instantiate_sweeper = functools.partial(_make_sweeper, known)  # type: ignore[method-assign]
    # Hydra copies its store of configs, though only read, at each look into a group: half of the time of --help.
    ConfigStore.__deepcopy__ = lambda store, memo: store  # type: ignore[attr-defined]
    ConfigLoaderImpl.load_configuration = load_configuration  # type: ignore[method-assign,assignment]
    ConfigRepository.initialize_sources = initialize_sources  # type: ignore[method-assign,assignment]
    # Hydra would compose the whole config once more, to see whether it is a sweep: here it always is.
    Hydra.get_mode = lambda *_, **given: RunMode.MULTIRUN  # type: ignore[method-assign]
    Hydra.format_config_groups = _groups_in_lines  # type: ignore[method-assign,assignment]


def _groups_in_lines(hydra: Hydra, predicate: Callable[[str], bool], compact: bool = True) -> str:
    """Return the groups and their choices, as `--help` lists them, in lines that fit a terminal."""
    listed = _LIST_GROUPS(hydra, predicate, compact).splitlines()
    lines = [textwrap.wrap(line, _WIDTH, subsequent_indent="    ", break_on_hyphens=False) for line in listed]
    return "".join(f"{line}\n" for wrapped in lines for line in wrapped)


def _make_sweeper(
    known: Plugins, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
) -> Sweeper:
    if config.hydra.mode == RunMode.RUN:
        raise UserError("hydra.mode=RUN is refused: a single run is a grid of one cell; leave hydra.mode out")
    check_sweep(config, hydra_context.config_loader)
    watch_jobs(hydra_context.config_loader)
    sweeper = Plugins.instantiate_sweeper(
        known, hydra_context=hydra_context, task_function=task_function, config=config
    )
    # optuna, once imported, prints the name of its study to stderr.
    logging.getLogger("optuna").setLevel(logging.WARNING)
    return sweeper
