"""The folders that choices come from: a file of the user's own never has the name of a built-in one."""

from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path

from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigSource

from ltsweep.errors import UserError
from ltsweep.words import shown

# Hydra's names of the packages that come first: a file of theirs is taken, whatever a later folder holds.
_BUILT_IN = ("hydra", "main")
# Hydra's name of the configs that plugins register in Python.
_REGISTERED = "schema"

# Characters of a path that a message quotes.
_PATH = 400

_initialize = ConfigRepository.initialize_sources


def initialize_sources(repository: ConfigRepository, config_search_path: ConfigSearchPath) -> None:
    """Do what Hydra's own method does, and raise UserError for a file that it would silently pass over."""
    _initialize(repository, config_search_path)
    check_sources(repository.get_sources())


def check_sources(sources: Iterable[ConfigSource]) -> None:
    """Raise UserError where a folder of the user's own is missing, or holds a file by the name of a built-in one."""
    sources = list(sources)
    own = [one for one in sources if one.provider not in (*_BUILT_IN, _REGISTERED)]
    for one in own:
        if not one.available():
            raise UserError(f"{shown(one.full_path(), _PATH)} ({one.provider}) is not there")
    for first in sources if own else ():
        for name in _names(first) if first.provider in _BUILT_IN else ():
            taken = Path(str(files(first.path) / f"{name}.yaml"))
            for later in own:
                passed = Path(later.path if later.scheme() == "file" else later.full_path()) / f"{name}.yaml"
                if later.is_config(name) and not (passed.exists() and passed.samefile(taken)):
                    raise UserError(
                        f"{shown(str(passed), _PATH)} would not be read: {taken} has the same name and comes first; "
                        "rename yours"
                    )


def _names(source: ConfigSource, group: str = "") -> Iterator[str]:
    """Yield the names of all configs of a source, such as `lr/constant`."""
    inside = f"{group}/" if group else ""
    for name in source.list(group, ObjectType.CONFIG):
        yield f"{inside}{name}"
    for name in source.list(group, ObjectType.GROUP):
        yield from _names(source, f"{inside}{name}")
