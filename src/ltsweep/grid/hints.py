"""Hydra's errors about names, with what there is instead."""

from hydra.errors import MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from ltsweep.errors import did_you_mean
from ltsweep.grid.check import GROUPS, VALUES
from ltsweep.schema import SETTINGS

_MOST = 3  # near choices to name: those that differ in an ending alone (xavier_u, xavier_n) all look meant


def hint(error: Exception) -> str | None:
    """Return an error about a name that is not in the config, or a choice that is not in its group, as one line.

    None for every other error.
    """
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        near = did_you_mean(choice, error.options, _MOST)
        return f"{group}/{choice} is not a choice; {near}available in '{group}': {', '.join(error.options)}"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:  # one of a list, as measure=[...] takes
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return f"{group}=[{choice}] is not a choice of the group {group}; python -m ltsweep --help lists them"
    cause = error.__cause__
    # OmegaConf's errors carry the node that lacks the name.
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and isinstance(cause.parent_node, DictConfig):
        return _missing(str(cause.key), cause.parent_node)
    return None


def _missing(name: str, node: DictConfig) -> str:
    path = str(node._get_full_key(None))
    names = [str(key) for key in node if not str(key).startswith("_")]
    if path:
        name, names = f"{path}.{name}", [f"{path}.{key}" for key in names if key != "name"]
    else:
        shown = (*VALUES, *SETTINGS, *GROUPS)
        names = [key for key in shown if key in names and key != "hydra"]
    there = f"there are {', '.join(names)}" if names else f"{path} has no names in it"
    return f"{name} is not a name of the config; {did_you_mean(name, names)}{there}"
