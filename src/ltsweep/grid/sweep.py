"""The check of a sweep before any cell is composed: study, launcher, sweeper, objective and parameters."""

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, open_dict, read_write

from ltsweep.errors import UserError
from ltsweep.grid.objective import GRIDS, check_objective
from ltsweep.grid.overrides import elements, rewrite_params
from ltsweep.grid.place import study_folder
from ltsweep.grid.size import check_size
from ltsweep.schema import SETTINGS
from ltsweep.words import shown

# Start of the launcher names of hydra-submitit-launcher, which gives each cell a job and a silent process of its own,
# where ours trains stacks. It also writes to the folder .submitit of our own tasks.
SUBMITIT = "submitit_"

# Our launchers: those that know `dry_run`.
_LOCAL, _SLURM = (f"hydra_plugins.ltsweep_launcher.{name}Launcher" for name in ("local.Local", "slurm.Slurm"))


def check_sweep(config: DictConfig, loader: ConfigLoader) -> None:
    """Raise UserError for mistakes that Hydra would accept, and rewrite numbers in `hydra.sweeper.params`.

    config: the config of the sweep, before its sweeper and launcher are made. `lr: interval(1e-4,1e-1)` among the
    params becomes `lr.value: interval(1e-4,1e-1)`, as on the command line. With dry_run=true our own sweeper and
    launcher take the place of Hydra's, which write before they look.
    """
    study_folder(config.study, config.hydra)
    for kind in ("launcher", "sweeper"):
        _check_plugin(config, kind, loader)
    launcher, sweeper = config.hydra.launcher, config.hydra.sweeper._target_
    dry = config.dry_run
    if not isinstance(dry, bool):
        raise UserError(f"dry_run={shown(dry)} is out of range: dry_run is true or false")
    if sweeper not in GRIDS and (dry or launcher.get("dry_run") or launcher.get("wait") is False):
        raise UserError(
            "a search reads every score before it goes on; "
            "take dry_run=false hydra.launcher.wait=true hydra.launcher.dry_run=false"
        )
    overrides = _overrides(config)
    if sweeper in GRIDS:
        check_size(overrides, config.max_cells)
    swept = {override.key_or_group: elements(override) for override in overrides if override.is_sweep_override()}
    # Each dataset has its own validation, so a sweep over datasets is checked later, cell by cell.
    default = [] if swept.keys() & {"dataset", "dataset.validation"} else [config.validation]
    validations = swept.get("validation", default)
    trains = swept.get("evaluate_train", [config.get("evaluate_train", True)])
    check_objective(config.objective, sweeper, validations, trains)
    if dry:
        with read_write(config), open_dict(config):
            config.hydra.sweeper._target_ = GRIDS[0]
            if launcher._target_ not in (_LOCAL, _SLURM):
                config.hydra.launcher = {"_target_": _LOCAL}


def check_launcher(choice: object) -> None:
    """Raise UserError for a launcher under which this program does not work, installed or not."""
    if str(choice).startswith(SUBMITIT):
        raise UserError(
            f"hydra/launcher={shown(choice)} would give each cell a silent job of its own; "
            "take hydra/launcher=slurm on a cluster, hydra/launcher=local on this machine"
        )


def _check_plugin(config: DictConfig, kind: str, loader: ConfigLoader) -> None:
    choice, node = config.hydra.runtime.choices.get(f"hydra/{kind}"), config.hydra[kind]
    if kind == "launcher":
        check_launcher(choice)
    target = node.get("_target_") if isinstance(node, DictConfig) else None
    if target not in Plugins.instance().class_name_to_class:
        choices = ", ".join(sorted(loader.get_group_options(f"hydra/{kind}")))
        raise UserError(
            f"hydra/{kind}={shown(choice)} ({shown(target)}) is not a {kind} that is installed; there are {choices}"
        )


def _overrides(config: DictConfig) -> list[Override]:
    """Return the overrides of the params and of the command line, in this order; rewrite numbers in the params.

    Raises UserError for several values of a setting or of the experiment, and for a setting among the params, which
    are of cells.
    """
    lines = list(config.hydra.overrides.task)
    if isinstance(params := config.hydra.sweeper.get("params"), DictConfig):
        named = rewrite_params({str(name): value for name, value in params.items()})
        with read_write(config), open_dict(config):
            config.hydra.sweeper.params = named
        for name in named:
            if name.lstrip("+").partition(".")[0].partition("/")[0] in SETTINGS:
                raise UserError(f"hydra.sweeper.params.{shown(name)}: a study has one {shown(name)}; set it by itself")
        lines = [*(f"{name}={value}" for name, value in named.items()), *lines]
    overrides: list[Override] = OverridesParser.create().parse_overrides(lines)
    for override in overrides:
        if override.is_sweep_override() and override.key_or_group in (*SETTINGS, "experiment"):
            raise UserError(f"{shown(override.input_line)}: a study has one {override.key_or_group}; give it one value")
    return overrides


def watch_jobs(loader: ConfigLoader) -> None:
    """Let `loader` raise UserError for a job that would write outside of its study's folder, whoever composes it."""
    compose = loader.load_sweep_config

    def composed(master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        job = compose(master_config, sweep_overrides)
        study_folder(job.study, job.hydra)
        return job

    loader.load_sweep_config = composed  # type: ignore[method-assign]
