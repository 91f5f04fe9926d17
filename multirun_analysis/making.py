"""Make what is asked of a study: the figures and tables that are out of date, and a text that lists all of them."""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from ltsweep.errors import did_you_mean
from ltsweep.store.disk import leftovers, read
from multirun_analysis import closing, disk, export, figures, report, stamp, style, view, where
from multirun_analysis.claims import Claim
from multirun_analysis.densities import left_out
from multirun_analysis.errors import AnalysisError, NothingToShow
from multirun_analysis.load import Study, load, with_weights
from multirun_analysis.notes import sentences
from multirun_analysis.stamp import Made
from multirun_analysis.view import View

# Bytes of a page, above which it is none of ours.
_MOST_PAGE = 1 << 30


@dataclass(frozen=True)
class Request:
    """What is asked for: which figures, drawn how, of which cells.

    figures: names of shipped figures, and paths of files of one's own. styles: ending -> one of `style.SUFFIX`; a file
    of every figure for each. where: a filter over cells (`where.only`), or nothing. formats: of `export.FORMATS`; the
    tables in each. report: the page too, with the verdict on these claims. look: how figures are drawn; the columns
    that it names come first, and `view.choose` places the others.
    """

    figures: tuple[str, ...]
    styles: Mapping[str, str] = dataclasses.field(default_factory=lambda: style.endings(tuple(style.SUFFIX), ()))
    where: str = ""
    formats: tuple[str, ...] = ()
    report: bool = False
    claims: tuple[Claim, ...] = ()
    look: View = dataclasses.field(default_factory=View)

    @property
    def only(self) -> str:
        """Return a sentence on the cells that are looked at, where not all are."""
        return f"Only cells where {self.where}." if self.where else ""

    def view(self, study: Study) -> View:
        """Return how this study is drawn."""
        look = self.look
        for name in look.axes:
            view.check_column(name, study.cells)
        controls = study.levels["arm"].nunique() > 1
        places = view.choose(study.cells, controls=controls, hue=look.hue, col=look.col, row=look.row, over=look.over)
        alike = f"Each seed has its own {', '.join(look.over)}." if look.over else ""
        note = sentences(
            self.only, alike, closing.caveats(study.cells), closing.note(study.cells), closing.bare(study.levels)
        )
        return dataclasses.replace(look, hue=places.hue, col=places.col, row=places.row, note=note)


class _Due(NamedTuple):
    """What is asked for, and what of it is out of date.

    cells: a hash of the records. wanted: file -> hash of what it is made from. had: the stamp. stale: files.
    """

    cells: str
    wanted: dict[str, str]
    had: dict[str, Made]
    stale: list[str]


def make(studies: Sequence[Path], out: Path, asked: Request) -> str:
    """Write the files in `out` that are out of date, of one study or of several read as one; return a list of all.

    Raises AnalysisError for whatever the user can mend, such as a column that does not exist.
    """
    due = _due(studies, out, asked)
    stale = due.stale
    if stale or leftovers(out) or _is_unlinked(out, due.had):
        with disk.hold(out):
            due = _due(studies, out, asked)  # another analysis may have made them meanwhile
            stale = due.stale
            if stale:
                _make_anew(studies, out, asked, due)
            if _is_unlinked(out, due.had):
                _link(out, due.had)
    names = ", ".join(map(str, studies))
    return "\n".join([f"{names}: {due.had[stamp.CELLS].says}", *_listed(out, list(due.wanted), stale, due.had)])


def _is_unlinked(out: Path, had: Mapping[str, Made]) -> bool:
    """Return whether there is a page that was written here and links to other figures than stand beside it."""
    page = had.get(report.FILE)
    if page is None or page.links == report.figures(out):
        return False
    return stamp.is_current(out, had, report.FILE, page.made_from)


def _link(out: Path, had: dict[str, Made]) -> None:
    """Write the page and the stamp with links to the figures that stand beside it."""
    page, names = had[report.FILE], report.figures(out)
    page.pages = [_written(out / report.FILE, report.linked(read(out / report.FILE, _MOST_PAGE), names))]
    page.links = names
    stamp.write(out, had)


def _due(studies: Sequence[Path], out: Path, asked: Request) -> _Due:
    # Taken before the records are read: what is written meanwhile makes the files out of date, not wrong.
    cells = _hash(stamp.fingerprint(studies), asked.where)
    wanted, had = _wanted(asked, cells), stamp.read(out)
    stale = [file for file, made_from in wanted.items() if not stamp.is_current(out, had, file, made_from)]
    listed = had.get(stamp.CELLS)
    return _Due(cells, wanted, had, stale if listed and listed.made_from == cells else [*stale, stamp.CELLS])


def _make_anew(studies: Sequence[Path], out: Path, asked: Request, due: _Due) -> None:
    """Write the stale files and the stamp, and enter them into `due.had`."""
    study = load(*studies)
    if asked.where:
        study = where.only(study, asked.where)
    made = {file: Made(due.wanted[file]) for file in due.stale if file != stamp.CELLS}
    for page in (page for file in made if file in due.had for page in due.had[file].files(file)[1:]):
        disk.remove(out / page)  # there may be fewer now
    _make(study, out, made, asked)
    due.had.update(made | {stamp.CELLS: Made(due.cells, says=closing.table(study.cells))})
    stamp.write(out, due.had)


def known(names: Sequence[str], there_are: Sequence[str], what: str) -> tuple[str, ...]:
    """Return the names if all of them are known. Raises AnalysisError with the nearest known one otherwise."""
    for name in names:
        if name not in there_are:
            raise AnalysisError(f"no {what} {name!r}: {did_you_mean(name, there_are)}There are {', '.join(there_are)}")
    return tuple(names)


def _wanted(asked: Request, cells: str) -> dict[str, str]:
    """Return the files that are asked for, file -> hash of what it is made from; `cells` is that of the records."""
    wanted: dict[str, str] = {}
    for figure in asked.figures:
        drawn = _hash(cells, asked.look, figures.source(figure))
        wanted |= dict.fromkeys(_files(figure, asked.styles), drawn)
    wanted |= {f"{table}.{kind}": cells for table in export.TABLES for kind in asked.formats}
    if asked.report:
        wanted[report.FILE] = _hash(cells, asked.claims, report.source())
    return wanted


def _files(figure: str, styles: Mapping[str, str]) -> dict[str, str]:
    """Return the files of a figure, file -> style."""
    return {f"{figures.name(figure)}{ending}": each for ending, each in styles.items()}


def _make(study: Study, out: Path, made: Mapping[str, Made], asked: Request) -> None:
    """Write files, file -> what the stamp says of it: the note of what was written, or why there is nothing to show."""
    look, drawn = asked.view(study), with_weights(study)
    groups: list[tuple[dict[str, str], Iterator[tuple[str, list[bytes], list[str]]]]] = []
    for figure in asked.figures:
        styles = {file: each for file, each in _files(figure, asked.styles).items() if file in made}
        groups.append((styles, _drawn(drawn, look, figure, styles)))
    for table in export.TABLES:
        kinds = {f"{table}.{kind}": kind for kind in asked.formats if f"{table}.{kind}" in made}
        groups.append((kinds, _exported(study, table, kinds)))
    for files, contents in groups:
        try:
            for file, pages, left_out in contents:
                names = stamp.page_names(file, len(pages))
                made[file].pages = [_written(out / page, each) for page, each in zip(names, pages, strict=True)]
                made[file].left_out = left_out
        except NothingToShow as nothing:
            for file in files:
                disk.remove(out / file)  # made from other records or options, it would mislead
                made[file].says = str(nothing)
    if report.FILE in made:
        page = report.page(drawn, asked.claims, out, only=asked.only)
        made[report.FILE].pages = [_written(out / report.FILE, page)]
        made[report.FILE].links = report.figures(out)


def _written(path: Path, content: bytes) -> tuple[int, int, str]:
    size, changed, digest = disk.write(path, content)
    return int(size), int(changed), str(digest)


def _drawn(
    study: Study, look: View, figure: str, files: Mapping[str, str]
) -> Iterator[tuple[str, list[bytes], list[str]]]:
    """Yield file, the content of each page, and broken files left out of one figure for `files`, file -> style."""
    if not files:
        return
    module = figures.get(figure)
    with figures.blamed_on(figure, "table failed"):
        table = module.table(study, look)
    for file, each in files.items():
        with figures.blamed_on(figure, "draw failed"):
            own = dataclasses.replace(look, style=dataclasses.replace(look.style, name=each))
            drawn = module.draw(table, own)
        pages: list[Figure] = drawn if isinstance(drawn, list) and drawn else [drawn]  # type: ignore[list-item]
        if bad := [page for page in pages if not isinstance(page, Figure)]:
            raise AnalysisError(f"{figure}: draw returns {type(bad[0]).__name__}, and must return a matplotlib Figure")
        yield file, style.images(pages, own.style, Path(file).suffix), left_out(table)


def _exported(study: Study, table: str, files: Mapping[str, str]) -> Iterator[tuple[str, list[bytes], list[str]]]:
    """Yield file, content and broken files left out of one tidy table for `files`, file -> format."""
    for file, kind in files.items():
        yield file, [export.FORMATS[kind](export.TABLES[table](study))], []


def _listed(out: Path, files: Sequence[str], stale: Sequence[str], had: Mapping[str, Made]) -> list[str]:
    lines = []
    for file in files:
        if says := had[file].says:
            lines.append(f"  {'nothing':10}  {Path(file).stem}: {says}")
        else:
            state = "written" if file in stale else "up to date"
            lines += [f"  {state:10}  {out / page}" for page in had[file].files(file)]
    lines += [f"  {'left out':10}  {broken}" for file in files for broken in had[file].left_out]
    return list(dict.fromkeys(lines))  # a figure with nothing to show has nothing in every style


def _hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
