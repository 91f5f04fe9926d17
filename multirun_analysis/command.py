"""The command: make the figures and reports of studies that are out of date. `python -m multirun_analysis --help`."""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from ltsweep.words import printable
from multirun_analysis import claims, export, figures, style, style_file, watching
from multirun_analysis.errors import AnalysisError
from multirun_analysis.making import Request, known, make
from multirun_analysis.options import one_line, parser
from multirun_analysis.view import View


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 2 with a line on stderr for a mistake its user can mend."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without Unicode gets what it lacks as escapes
            stream.reconfigure(errors="backslashreplace")
    asked = parser().parse_args(arguments)
    try:
        request = _request(asked)
        analyses = _analyses(asked)

        def make_all() -> None:
            for studies, out in analyses:
                _say(make(studies, out, request))

        if asked.watch:
            watching.watch(asked.studies, make_all)
        else:
            make_all()
    except AnalysisError as error:
        print(f"multirun_analysis: {one_line(str(error))}", file=sys.stderr)
        return 2
    return 0


def _say(text: str) -> None:
    """Print what was made. Raises AnalysisError where the output takes nothing more: it was sent to a full disk."""
    try:
        print(printable(text), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise AnalysisError(f"the output cannot be written: {error.strerror}; the files are there") from None


def _analyses(asked: argparse.Namespace) -> list[tuple[list[Path], Path]]:
    """Return pairs of the studies that are read as one and the folder for their files."""
    if asked.together:
        if asked.out is None:
            raise AnalysisError("--together needs a folder for the figures of all studies: --out FOLDER")
        return [(asked.studies, asked.out)]
    if asked.out is None:
        for study in asked.studies:
            if (study / "figures").is_symlink():
                raise AnalysisError(f"{study / 'figures'}: a symbolic link; --out names a folder that may be one")
    several = len(asked.studies) > 1
    return [
        ([study], study / "figures" if asked.out is None else asked.out / (study.resolve().name if several else ""))
        for study in asked.studies
    ]


def _request(asked: argparse.Namespace) -> Request:
    """Return what is asked for. Raises AnalysisError for a mistake that the parser does not see."""
    if asked.axes and (len(asked.axes) != 2 or len(set(asked.axes)) != 2):
        raise AnalysisError(f"--axes takes two config columns, such as init,lr, not {','.join(asked.axes)}")
    if bad := [part for part in asked.remaining if not 0 < part <= 1]:
        raise AnalysisError(f"--remaining takes fractions above 0 and up to 1, such as 0.2; {bad[0]:g} is none")
    page = not asked.figures if asked.report is None else asked.report
    if asked.claims and not page:
        raise AnalysisError("--claims are for the report; add --report")
    look = View(
        hue=asked.hue,
        col=asked.col,
        row=asked.row,
        metric=asked.metric,
        band=asked.band,
        bars=asked.bars,
        remaining=asked.remaining,
        axes=asked.axes,
        over=asked.over,
        style=style_file.read(asked.style_file),
    )
    return Request(
        figures=_figures(asked.figures),
        styles=style.endings(
            known(asked.style, list(style.SUFFIX), "style"), known(asked.format, list(style.FORMATS), "format")
        ),
        where=asked.where,
        formats=known(asked.export, list(export.FORMATS), "format"),
        report=page,
        claims=tuple(claims.published(asked.claims)) if page else (),
        look=look,
    )


def _figures(asked: tuple[str, ...]) -> tuple[str, ...]:
    """Return the figures that are asked for: shipped ones by name, a user's own by path; all shipped ones for none."""
    if asked == ("none",):
        return ()
    known([figure for figure in asked if not figures.is_path(figure)], figures.names(), "figure")
    figures.check_paths(asked)
    return tuple(dict.fromkeys(asked)) or tuple(figures.names())
