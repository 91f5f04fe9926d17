"""The command line: arguments -> Hydra -> a launcher, and every mistake as one line.

Exit codes: 0 every cell is finished, 1 some failed or could not be written, 2 a mistake to mend, 130 interrupted.
"""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from ltsweep.errors import CannotWriteError, UserError
from ltsweep.grid import cell, compose
from ltsweep.grid.overrides import rewrite


@hydra.main(config_path="pkg://ltsweep.conf", config_name="config", version_base="1.3")
def task(config: DictConfig) -> dict[str, Any]:
    """Run one cell: what Hydra's stock launchers call, each in a process of its own. Returns its status."""
    from ltsweep.run.study import run, settings_from  # torch takes seconds to import, so only where it is needed

    one = cell.from_config(config)
    study = Path(HydraConfig.get().runtime.output_dir).parent
    # The other cells of the study run beside this one, so only its own folder is held.
    status = run([one], settings_from(config, study, claim=[study / one.key]))[one.key]
    if status["status"] == "failed":
        raise RuntimeError(f"{status['error']}; the traceback is in {study / one.key / 'cell.log'}")
    return status


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit."""
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # Hydra prints an error as many lines; with this it hands the exception to us.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        sys.argv[1:] = rewrite(sys.argv[1:] if arguments is None else arguments)
        _check_flags(sys.argv[1:])
        cell.register_resolver()
        _register_plugins()
        cast(Callable[[], None], task)()
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from the last finished level", file=sys.stderr)
        sys.exit(130)
    except CannotWriteError as error:
        if wants_traceback:
            raise
        print(f"ltsweep: {error}; what was finished is kept, and the same command goes on from it", file=sys.stderr)
        sys.exit(1)
    except (UserError, HydraException, OmegaConfBaseException, OSError) as error:
        if wants_traceback:
            raise
        print(f"ltsweep: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        if wants_traceback or _is_ours(error):
            raise
        print(f"ltsweep: the config cannot be composed: {one_line(error)}", file=sys.stderr)
        sys.exit(2)


def _check_flags(arguments: Sequence[str]) -> None:
    """Raise UserError for a flag that Hydra does not have, for which its parser would print many lines."""
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; --hydra-help lists the flags")

    parser.error = refuse  # type: ignore[method-assign]
    parser.parse_args(list(arguments))


def _is_ours(error: Exception) -> bool:
    """Say whether an error was raised in this package's own work, and not while Hydra read what it was given."""
    codes = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    # Composing is Hydra's work on what it was given, whoever calls it.
    composing = (__file__, "main"), (compose.__file__, "compose_cells")
    return any(
        Path(code.co_filename).is_relative_to(Path(__file__).parent)
        and (code.co_filename, code.co_name) not in composing
        for code in codes
    )


def one_line(error: Exception) -> str:
    """Return what an exception says, without line breaks and without Hydra's listing of its search path."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = f"{error.override}: {error}" if isinstance(error, OverrideParseException) else str(error)
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
    """Make our launcher and sweeper known: an editable install is not where Hydra looks for plugins."""
    known = Plugins.instance()  # first: its scan loads Hydra's own sweeper anew, which ours must be a subclass of
    from hydra_plugins.ltsweep_launcher.grid import GridSweeper
    from hydra_plugins.ltsweep_launcher.local import LocalLauncher
    from hydra_plugins.ltsweep_launcher.slurm import SlurmLauncher

    for plugin in (GridSweeper, LocalLauncher, SlurmLauncher):
        known.register(plugin)
