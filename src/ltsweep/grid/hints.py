"""One-line messages for Hydra's errors about unknown names, with the names that exist."""

from hydra.errors import MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, InterpolationResolutionError

from ltsweep.errors import did_you_mean, said_within
from ltsweep.grid.check import GROUPS, VALUES
from ltsweep.schema import SETTINGS
from ltsweep.words import shown

# Most near choices that a message names: 3, since choices that differ in an ending alone (xavier_u, xavier_n) all fit.
_MOST = 3


def hint(error: Exception) -> str | None:
    """Return one line for an unknown name or choice of the config, or a UserError of a resolver; None for any other."""
    if isinstance(error, InterpolationResolutionError):
        return said_within(error)
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
    path, choice = str(node._get_full_key(None)), node.get("name")
    names = [str(key) for key in node if not str(key).startswith("_")]
    if not path and name in GROUPS:
        return (
            f"no {name} is chosen, so none has that field; {name}=NAME chooses one, python -m ltsweep --help lists them"
        )
    if path:
        name, names = f"{path}.{name}", [f"{path}.{key}" for key in names if key != "name"]
    else:
        names = [key for key in (*VALUES, *SETTINGS, *GROUPS) if key in (*names, "measure") and key != "hydra"]
    there = f"there are {', '.join(names)}" if names else f"{path} has no names in it"
    chosen = f" with {path}={shown(choice)}" if path in GROUPS and choice else ""
    return f"{name} is not a name of the config{chosen}; {did_you_mean(name, names)}{there}"
