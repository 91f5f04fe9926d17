"""Make what is asked of a study: the figures and tables that are out of date, and a text that lists all of them."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from multirun_analysis import closing, disk, export, figures, report, stamp, style, view, where
from multirun_analysis.claims import Claim
from multirun_analysis.errors import AnalysisError, NothingToShow
from multirun_analysis.load import Study, load
from multirun_analysis.view import View


@dataclass(frozen=True)
class Request:
    """What is asked for: which figures, drawn how, of which cells. `view.View` says what the fields it shares mean.

    figures: names of figures. styles: of `style.SUFFIX`; a file of every figure for each. where: a filter over cells
    (`where.only`), or nothing. formats: of `export.FORMATS`; the tables in each. report: the page too, with the verdict
    on these claims.
    """

    figures: tuple[str, ...]
    styles: tuple[str, ...] = ("screen", "paper")
    where: str = ""
    formats: tuple[str, ...] = ()
    report: bool = False
    claims: tuple[Claim, ...] = ()
    hue: tuple[str, ...] = ()
    col: tuple[str, ...] = ()
    row: tuple[str, ...] = ()
    metric: str = "test_accuracy"
    band: str = "minmax"
    bars: bool = False
    remaining: tuple[float, ...] = ()
    axes: tuple[str, ...] = ()

    @property
    def only(self) -> str:
        """Say which cells are looked at, where not all are."""
        return f"Only cells where {self.where}." if self.where else ""

    def view(self, study: Study) -> View:
        """Say how this study is drawn."""
        for name in self.axes:
            view.check_column(name, study.cells)
        controls = study.levels["arm"].nunique() > 1
        chosen = view.choose(study.cells, controls=controls, hue=self.hue, col=self.col, row=self.row)
        return dataclasses.replace(
            chosen,
            metric=self.metric,
            band=self.band,
            bars=self.bars,
            remaining=self.remaining,
            axes=self.axes,
            note=" ".join(filter(None, [self.only, closing.note(study.cells)])),
        )


def make(studies: Sequence[Path], out: Path, asked: Request) -> str:
    """Make, of one study or of several read as one, the files in `out` that are out of date; say what there is.

    Raises AnalysisError for whatever the user can mend, such as a column that does not exist.
    """
    # Taken before the records are read: what is written meanwhile makes the files out of date, not wrong.
    cells = _hash(stamp.fingerprint(studies), asked.where)
    drawn = _hash(
        cells,
        *(getattr(asked, name) for name in ("hue", "col", "row", "metric", "band", "bars")),
        asked.remaining,
        asked.axes,
    )
    wanted = {f"{name}{style.SUFFIX[each]}": drawn for name in asked.figures for each in asked.styles} | {
        f"{table}.{kind}": cells for table in export.TABLES for kind in asked.formats
    }
    if asked.report:
        wanted[report.FILE] = _hash(cells, asked.claims, report.source())
    had = stamp.read(out)
    stale = [file for file, made_from in wanted.items() if not stamp.is_current(out, had, file, made_from)]
    if stale or had.get(stamp.CELLS, {}).get("made_from") != cells:
        study = load(*studies)
        if asked.where:
            study = where.only(study, asked.where)
        said = _make(study, out, stale, asked) | {stamp.CELLS: closing.table(study.cells)}
        had |= {file: {"made_from": wanted.get(file, cells), "says": says} for file, says in said.items()}
        stamp.write(out, had)
    names = ", ".join(map(str, studies))
    return "\n".join([f"{names}: {had[stamp.CELLS]['says']}", *_listed(out, list(wanted), stale, had)])


def _make(study: Study, out: Path, stale: Sequence[str], asked: Request) -> dict[str, str]:
    """Write the stale files; gives for each nothing, or in a line why there is nothing to show and so no file."""
    says = dict.fromkeys(stale, "")
    look = asked.view(study)
    for name in asked.figures:
        mine = {f"{name}{style.SUFFIX[each]}": each for each in asked.styles}
        if not (files := [file for file in mine if file in says]):
            continue
        figure = figures.get(name)
        try:
            table = figure.table(study, look)
            for file in files:
                styled = dataclasses.replace(look, style=mine[file])
                disk.write(out / file, style.image(figure.draw(table, styled), styled.style))
        except NothingToShow as nothing:
            for file in files:
                (out / file).unlink(missing_ok=True)  # drawn from other records or options, it would mislead
                says[file] = str(nothing)
    for kind in asked.formats:
        for table_name, tidy in export.TABLES.items():
            if (file := f"{table_name}.{kind}") in says:
                disk.write(out / file, export.FORMATS[kind](tidy(study)))
    if report.FILE in says:
        disk.write(out / report.FILE, report.page(study, asked.claims, out, only=asked.only))
    return says


def _listed(out: Path, files: Sequence[str], stale: Sequence[str], had: Mapping[str, Mapping[str, str]]) -> list[str]:
    lines = [
        f"  {'nothing':10}  {Path(file).stem}: {had[file]['says']}"
        if had[file]["says"]
        else f"  {'written' if file in stale else 'up to date':10}  {out / file}"
        for file in files
    ]
    return list(dict.fromkeys(lines))  # a figure with nothing to show has nothing in every style


def _hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def known(names: Sequence[str], there_are: Sequence[str], what: str) -> tuple[str, ...]:
    """Give the names back if all of them are known; raises AnalysisError with the nearest one otherwise."""
    for name in names:
        if name not in there_are:
            raise AnalysisError(f"no {what} {name!r}: {view.meant(name, there_are)}There are {', '.join(there_are)}")
    return tuple(names)
