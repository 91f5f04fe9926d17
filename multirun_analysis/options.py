"""The options of the command, with an example for each."""

import argparse
from pathlib import Path
from typing import NoReturn

from ltsweep.words import printable
from multirun_analysis import curves, figures

_EPILOG = """\
examples:
  python -m multirun_analysis multirun/inits
      every figure of the study `inits`, to multirun/inits/figures/ as PNG and PDF, and its report, report.html
  python -m multirun_analysis multirun/inits --figures none --report --watch
      the report alone, made anew as cells finish
  python -m multirun_analysis multirun/inits --claims my_claims
      the verdict of the records on one's own claims too: a YAML file, or a folder of them
  python -m multirun_analysis multirun/inits --style paper
      the PDF alone, as wide as a column or a page of a paper, fonts embedded
  python -m multirun_analysis multirun/inits --style paper --format pdf,svg --style-file mine.yaml
      the same as SVG too, in a font, size and words of one's own
  python -m multirun_analysis multirun/inits --hue init --col lr --where "seed < 3 and lr > 1e-3"
      a line for each init, a column of panels for each learning rate, of some cells only
  python -m multirun_analysis multirun/inits --metric early_stop_iteration --band ci
      another column of levels.parquet, and 95 % confidence bands
  python -m multirun_analysis multirun/inits --figures heat_map --axes init,lr --remaining 0.2,0.05
      one figure, over two axes of the grid, where 20 % and 5 % of the weights remain
  python -m multirun_analysis multirun/inits --figures none --export csv,parquet
      no figure, but the records as tidy files: levels, evaluations, and readings if anything was measured
  python -m multirun_analysis multirun/inits --figures accuracy_vs_remaining,mine.py
      one of the figures above, and a figure of your own: a file with table(study, view) and draw(df, view)
  python -m multirun_analysis multirun/inits multirun/lenet
      the figures of each of two studies
  python -m multirun_analysis multirun/inits multirun/lenet --together --out both --hue study
      both read as one study, with a column `study`; figures to both/

Any config value is a column, by its dotted name: init, init.gain, model.activation, lr, lr.name, seed, ...
--where compares them: ==, !=, <, <=, >, >=, in [...], joined by and, or, not; text in quotes.

Cells of different configs are never averaged, nor are cells of different studies: a config value that varies and
has no place in --row, --col or --hue gets one by itself. Failed and diverged cells are drawn alone or listed, never
averaged. Files that are up to date are left as they are.
"""


def one_line(text: str) -> str:
    """Return text that a terminal shows as one line, whatever a path in it is named."""
    return printable(text).replace("\n", "\\n")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"multirun_analysis: {one_line(message)}; see python -m multirun_analysis --help\n")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(name) for name in _names(text))


_numbers.__name__ = "list of numbers"  # as argparse names it in an error


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; what it refuses is one line on stderr and exit code 2."""
    found = _Parser(
        prog="python -m multirun_analysis",
        description="Make the figures and reports of studies from the records in multirun/<study>/.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("studies", nargs="+", type=Path, metavar="STUDY", help="a study folder, multirun/<study>")
    which = found.add_argument_group("which")
    which.add_argument(
        "--figures",
        type=_names,
        default=(),
        metavar="FIGURE[,FIGURE]",
        help=f"which figures: none, or some of {', '.join(figures.names())}, or paths of your own, such as mine.py"
        " (default: all)",
    )
    which.add_argument(
        "--where", default="", metavar="EXPRESSION", help="only cells whose config values fulfil this, as seed < 3"
    )
    which.add_argument("--together", action="store_true", help="read all studies as one; needs --out")
    which.add_argument(
        "--export",
        type=_names,
        default=(),
        metavar="csv[,parquet]",
        help="also write the levels, evaluations and readings",
    )
    which.add_argument(
        "--report",
        action=argparse.BooleanOptionalAction,
        help="write report.html, one page with answers, interactive curves and all cells (default: unless --figures"
        " chooses)",
    )
    which.add_argument(
        "--claims",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="claims of one's own for the report, a YAML file or a folder of them; may be given several times",
    )
    which.add_argument(
        "--watch", action="store_true", help="make everything anew as cells finish, until all have ended"
    )
    which.add_argument(
        "--out",
        type=Path,
        help="folder for what is written (default: <study>/figures; with several studies, OUT/<study>)",
    )
    how = found.add_argument_group("how")
    for place, says in (
        ("--hue", "a line, such as init or model.activation (default: all that varies and has no place yet)"),
        ("--col", "a column of panels (default: lr, if it varies beside others)"),
        ("--row", "a row of panels (default: dataset and model, if they vary)"),
    ):
        how.add_argument(
            place, type=_names, default=(), metavar="COLUMN[,COLUMN]", help=f"config columns that name {says}"
        )
    how.add_argument(
        "--over",
        type=_names,
        default=(),
        metavar="COLUMN[,COLUMN]",
        help="config columns that are averaged over, as seeds are, where each seed has its own, such as init.source",
    )
    how.add_argument(
        "--axes",
        type=_names,
        default=(),
        metavar="COLUMN,COLUMN",
        help="the two axes of heat_map (default: the two config columns with the most values)",
    )
    how.add_argument(
        "--metric",
        default="test_accuracy",
        help="what accuracy_vs_remaining, heat_map and lr_panels draw: a score at the end of a level, as test_accuracy"
        " (the default) or val_loss, or another column of levels.parquet, as best_test_accuracy",
    )
    how.add_argument(
        "--remaining",
        type=_numbers,
        default=(),
        metavar="FRACTION[,FRACTION]",
        help="weights remaining at the levels that training_curves, heat_map, surviving_weights and accuracy_vs_width"
        " show (default: each its own choice)",
    )
    how.add_argument(
        "--band",
        choices=curves.BANDS,
        default="minmax",
        help="the band over seeds: from the least to the greatest (the default, and the papers'), one standard error,"
        " or the 95 %% confidence interval of the mean",
    )
    how.add_argument("--bars", action="store_true", help="draw the band as a bar at each level, as in the papers")
    how.add_argument(
        "--style",
        type=_names,
        default=("screen", "paper"),
        metavar="screen[,paper]",
        help="screen: PNG; paper: PDF as wide as a column or a page, fonts embedded (default: both)",
    )
    how.add_argument(
        "--format",
        type=_names,
        default=(),
        metavar="pdf[,png,svg]",
        help="what is written of each figure (default: each style's own); where both styles are drawn, pdf and svg are"
        " for paper, png is for the screen",
    )
    how.add_argument(
        "--style-file",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a look of one's own: a YAML file with font, size, note, limits, labels, or a .mplstyle file of"
        " matplotlib; may be given several times",
    )
    return found
