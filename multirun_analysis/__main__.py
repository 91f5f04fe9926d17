"""The command: make the figures of a study that are out of date. `python -m multirun_analysis --help`."""

import argparse
import dataclasses
import difflib
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from multirun_analysis import closing, curves, figures, stamp, style, view
from multirun_analysis.errors import AnalysisError
from multirun_analysis.load import Study, load

_EPILOG = """\
examples:
  python -m multirun_analysis multirun/inits
      every figure of the study `inits`, to multirun/inits/figures/ as PDF and PNG
  python -m multirun_analysis multirun/inits --hue init --col prune_rate
      a line for each init, a column of panels for each pruning rate
  python -m multirun_analysis multirun/inits --metric early_stop_iteration --band se
      another column of levels.parquet, and a band of one standard error
  python -m multirun_analysis multirun/inits multirun/lenet --figures training_curves --out paper
      one figure of two studies, to paper/inits/ and paper/lenet/

Cells of different configs are never averaged: a config value that varies and has no place in --row, --col or
--hue gets one by itself. Failed and diverged cells are drawn alone or listed, never averaged. Figures that
are up to date are left as they are.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; gives the exit code: 0, or 2 with one line on stderr for a mistake of the user."""
    asked = _parser().parse_args(arguments)
    try:
        names = _figures(asked.figures)
        several = len(asked.studies) > 1
        for study in asked.studies:
            own = Path(study.resolve().name) if several else Path()
            _make(study, study / "figures" if asked.out is None else asked.out / own, names, asked)
    except AnalysisError as error:
        print(f"multirun_analysis: {error}", file=sys.stderr)
        return 2
    return 0


def _make(study: Path, out: Path, names: Sequence[str], asked: argparse.Namespace) -> None:
    """Make the figures of one study that are out of date, and say what there is."""
    # Taken before the records are read: what is written meanwhile makes the figures out of date, not wrong.
    records = stamp.fingerprint(study)
    made_from = hashlib.sha256(
        repr((records, asked.hue, asked.col, asked.row, asked.metric, asked.band)).encode()
    ).hexdigest()
    had = stamp.read(out)
    current = [name for name in names if stamp.is_current(out, had, name, made_from)]
    stale = [name for name in names if name not in current]
    said = had.get(stamp.CELLS, {})
    if stale or said.get("made_from") != records:
        loaded = load(study)
        said = {"made_from": records, "text": closing.table(loaded.cells)}
        drawn = _draw(loaded, out, stale, asked)
        stamp.write(out, had | {stamp.CELLS: said} | {
            name: {"made_from": made_from, "files": " ".join(drawn[name])} for name in stale
        })  # fmt: skip
        had = stamp.read(out)
    print(f"{study}: {said['text']}")
    for name in names:
        paths = had[name]["files"].split()
        state = "up to date" if name in current else "written"
        for path in paths:
            print(f"  {state:10}  {out / path}")
        if not paths:
            print(f"  {'no records':10}  {name}")


def _draw(study: Study, out: Path, names: Sequence[str], asked: argparse.Namespace) -> dict[str, list[str]]:
    if not names:
        return {}
    look = dataclasses.replace(
        view.choose(
            study.cells, controls=study.levels["arm"].nunique() > 1,
            hue=asked.hue, col=asked.col, row=asked.row,
        ),
        metric=asked.metric, band=asked.band, note=closing.note(study.cells),
    )  # fmt: skip
    files: dict[str, list[str]] = {}
    for name in names:
        figure = figures.get(name)
        table = figure.table(study, look)
        saved = style.save(figure.draw(table, look), out / name) if len(table) else []
        files[name] = [path.name for path in saved]
    return files


def _figures(asked: tuple[str, ...]) -> tuple[str, ...]:
    known = figures.names()
    for name in asked:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise AnalysisError(f"no figure {name!r}: {f'did you mean {near[0]}? ' if near else ''}"
                                f"There are {', '.join(known)}")  # fmt: skip
    return asked or tuple(known)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m multirun_analysis",
        description="Make the figures of studies, PDF and PNG, from the records in multirun/<study>/.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("studies", nargs="+", type=Path, metavar="STUDY", help="a study folder, multirun/<study>")
    for place, says in (
        ("--hue", "a line, such as init or model.activation (default: all that varies and has no place yet)"),
        ("--col", "a column of panels (default: lr, if it varies beside others)"),
        ("--row", "a row of panels (default: dataset and model, if they vary)"),
    ):
        parser.add_argument(
            place, type=_names, default=(), metavar="COLUMN[,COLUMN]", help=f"config columns that name {says}"
        )
    parser.add_argument(
        "--metric", default="test_accuracy",
        help="what accuracy_vs_remaining draws: a score at the end of a level, as test_accuracy (the default)"
        " or val_loss, or another column of levels.parquet, as best_test_accuracy or early_stop_iteration",
    )  # fmt: skip
    parser.add_argument(
        "--band", choices=curves.BANDS, default="minmax",
        help="the band over seeds: from the least to the greatest (default), or one standard error",
    )  # fmt: skip
    parser.add_argument(
        "--figures", type=_names, default=(), metavar="FIGURE[,FIGURE]",
        help=f"which figures (default: all of {', '.join(figures.names())})",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path,
        help="folder for the figures (default: <study>/figures; with several studies, OUT/<study>)",
    )  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
