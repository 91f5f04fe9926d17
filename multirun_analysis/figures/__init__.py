"""One file a figure: `table(study, view)` returns what is drawn as a DataFrame, `draw(df, view)` the Figure.

A figure is known by the name of its file. To add one is to add a file with these two functions: here, or anywhere
else, given by its path. A figure that needs several pages is a list of Figures. All functions below take either: a
shipped figure's name, or a path.
"""

import contextlib
import importlib
import os
import pkgutil
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Protocol, cast

import pandas as pd
from matplotlib.figure import Figure

from multirun_analysis.errors import AnalysisError, NothingToShow
from multirun_analysis.load import Study
from multirun_analysis.view import View


class FigureFile(Protocol):
    """The functions that each figure's file has."""

    def table(self, study: Study, view: View) -> pd.DataFrame:
        """Return the table that is drawn. Raises NothingToShow, with what the study lacks, where it would be empty."""

    def draw(self, df: pd.DataFrame, view: View) -> Figure | list[Figure]:
        """Return the table as a figure, or as its pages; reads no file and computes no statistic."""


def names() -> list[str]:
    """Return the names of the shipped figures."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def is_path(figure: str) -> bool:
    """Return whether a figure is given by a path: it ends in .py or has a path separator."""
    return figure.endswith(".py") or any(separator in figure for separator in (os.sep, os.altsep) if separator)


def name(figure: str) -> str:
    """Return the name of a figure, and so of its files: a path's is its last part without the ending."""
    return Path(figure).stem if is_path(figure) else figure


def source(figure: str) -> bytes:
    """Return the content of a figure's file that is given by a path; nothing for a shipped one.

    Raises AnalysisError where there is no such file.
    """
    if not is_path(figure):
        return b""
    try:
        return Path(figure).read_bytes()
    except FileNotFoundError:
        raise AnalysisError(f"{figure}: no such file; a figure of your own is a Python file") from None
    except OSError as error:
        raise AnalysisError(f"{figure}: cannot be read: {error.strerror}") from None


def get(figure: str) -> FigureFile:
    """Return the module of a figure's file. A path's is read anew at each call, so that an edit counts at once.

    Raises AnalysisError where a path's file is missing, cannot be imported, or lacks one of the two functions.
    """
    if not is_path(figure):
        return cast(FigureFile, importlib.import_module(f"{__name__}.{figure}"))
    module = _imported(figure)
    for function in ("table", "draw"):
        if not callable(getattr(module, function, None)):
            raise AnalysisError(
                f"{figure}: has no function {function}; a figure is table(study, view) and draw(df, view)"
            )
    return cast(FigureFile, module)


def check_paths(asked: Sequence[str]) -> None:
    """Raise AnalysisError unless each figure that is given by a path can be made, under a name of its own."""
    by_name: dict[str, str] = {}
    for figure in filter(is_path, asked):
        own = name(figure)
        if own in names():
            raise AnalysisError(f"{figure}: there is a shipped figure {own}; give the file another name")
        if by_name.setdefault(own, figure) != figure:
            raise AnalysisError(f"{figure}: has the name of {by_name[own]}; each figure has its own")
        get(figure)


class _Uncached(SourceFileLoader):
    """Loads a Python file from its source: the stock loader leaves a __pycache__, and trusts it within a second."""

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of the file as it is now."""
        return self.source_to_code(self.get_data(self.path), self.path)


def _imported(figure: str) -> ModuleType:
    """Return a file as a module. Its user asked for it by its path; nothing in a study names a file to import."""
    source(figure)  # raises AnalysisError where there is no such file
    loader = _Uncached(f"{__name__}.{name(figure)}", figure)
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[module.__name__] = module  # a dataclass looks up its module by name
    with blamed_on(figure, "cannot be imported"):
        loader.exec_module(module)
    return module


@contextlib.contextmanager
def blamed_on(figure: str, what: str) -> Iterator[None]:
    """Turn what the file of a figure that is given by a path raises into an AnalysisError with its line."""
    try:
        yield
    except (AnalysisError, NothingToShow):
        raise
    except (Exception, SystemExit) as error:
        if not is_path(figure):
            raise  # a fault of ours
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == figure]
        where = f" (line {lines[-1]})" if lines else ""
        said = " ".join(str(error).split())
        raise AnalysisError(f"{figure}: {what}: {type(error).__name__}: {said}{where}") from None
