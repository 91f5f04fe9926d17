"""The command line of `python -m ltsweep.study`, and those commands that remove: cells, and what is left over.

A study may come from a stranger: nothing of it is run, nothing is written or removed outside of it, and links are not
followed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from ltsweep.cluster.follow import take_over
from ltsweep.cluster.looking import compare, list_cells, matching, say
from ltsweep.errors import UserError, loading
from ltsweep.schema import STATUS
from ltsweep.show.ending import exit_after
from ltsweep.show.labels import bytes_, count_cells, known_labels
from ltsweep.store import disk
from ltsweep.store.contents import size_of, status_of, statuses_in, study_of
from ltsweep.store.hold import hold, is_held
from ltsweep.store.leftovers import Leftover, leftovers, remove_leftovers
from ltsweep.words import printable, shown

# Characters of a cell's label, and cells about to be removed that are listed.
_LABEL, _ROWS = 200, 16

_WHERE = """only cells whose config values fulfil this, as in the analysis: "init == 'he_n' and lr > 0.1"; key and
status may be compared too; several --where must all hold"""

_EPILOGS = {
    "ls": """example:
  python -m ltsweep.study ls multirun/default --where "lr > 0.1"

Sizes are of all files in a cell's folder. Statuses are those on record; python -m ltsweep.status asks Slurm too.""",
    "rm": """example:
  python -m ltsweep.study rm multirun/default --where "init == 'he_n'" --where "lr > 0.1"

Refused are cells that a running command or a task in Slurm's queue computes. What is beside the cells stays.""",
    "gc": """example:
  python -m ltsweep.study gc multirun/default --dry-run

Removed are half-written files of killed processes, .broken/ with what was set aside there, checkpoints of stacks
without an unfinished cell, copies of your own code that made none of its cells, folders of no cell, and claims of
processes that are gone. No result is touched.""",
    "diff": """example:
  python -m ltsweep.study diff multirun/default ../elsewhere/multirun/default

Exit code 0: the same cells with the same numbers; 1: they differ; 2: a mistake. Seconds are not compared.""",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; --help shows examples")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0, 1 if studies differ or nothing was removed, 2 for a mistake."""
    exit_after(lambda: _run(_parser().parse_args(arguments)))


def _run(given: argparse.Namespace) -> int:
    code: int = given.run(given)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m ltsweep.study",
        description="See and tidy what a study's folder holds, or compare two studies.",
        epilog="example:\n  python -m ltsweep.study ls multirun/default\n\nCOMMAND --help shows an example of each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")

    def add(name: str, run: Any, says: str) -> argparse.ArgumentParser:
        one = commands.add_parser(
            name,
            help=says,
            description=f"{says[0].upper()}{says[1:]}.",
            epilog=_EPILOGS[name],
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        one.set_defaults(run=run)
        one.add_argument("study", type=Path, metavar="STUDY", help="the study's folder, multirun/<study>")
        return one

    ls, rm = add("ls", list_cells, "list the cells"), add("rm", _rm, "remove cells")
    for one in (ls, rm):
        one.add_argument("--where", action="append", default=[], metavar="EXPRESSION", help=_WHERE)
    rm.add_argument("--all", action="store_true", help="all cells, in place of --where")
    rm.add_argument("--yes", action="store_true", help="do not ask first")
    gc = add("gc", _gc, "remove what no command needs any more")
    gc.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    diff = add("diff", compare, "compare two studies")
    diff.add_argument("other", type=Path, metavar="STUDY", help="the study to compare with")
    return parser


def _rm(given: argparse.Namespace) -> int:
    if bool(given.where) == given.all:
        raise UserError("rm removes the cells of a --where, or with --all all of them; give one of the two")
    folder: Path = given.study
    study = study_of(folder)
    statuses = statuses_in(folder, study)
    keys = matching(study, statuses, given.where)
    names = known_labels(study.cells)
    for key in keys[:_ROWS]:
        say(f"{statuses[key]['status']:10}  {key}  {shown(names.get(key, ''), _LABEL)}")
    if len(keys) > _ROWS:
        say(f"and {len(keys) - _ROWS:,} more")
    if is_held(folder):
        with hold(folder):
            pass  # raises, before anything is asked, unless its process is gone
    size = bytes_(sum(size_of(folder / key) for key in keys))
    if not given.yes and not _agrees(f"remove {count_cells(len(keys))} of {folder}, {size}?"):
        say("nothing was removed")
        return 1
    with loading():  # torch
        from ltsweep.store.records import drop_unnamed

    with hold(folder):
        take_over(folder, keys)
        for key in keys:
            disk.check_folders(folder / key)
            if is_held(folder / key):
                with hold(folder / key):
                    pass  # raises, before anything is removed, unless its process is gone
        drop_unnamed(folder, [status_of(folder / key) for key in keys], set(keys))
        for key in keys:
            with hold(folder / key):
                disk.remove(folder / key / STATUS)  # first: what is left of a killed removal is no finished cell
                disk.remove(folder / key)
    say(f"removed {count_cells(len(keys))}, {size}; {len(study.keys) - len(keys):,} left")
    return 0


def _gc(given: argparse.Namespace) -> int:
    study_of(given.study)  # in any other folder, files of such names may be somebody's
    if given.dry_run and is_held(given.study):
        raise UserError(f"{given.study} is being computed; what is left over can be told when it is not")
    found = leftovers(given.study) if given.dry_run else remove_leftovers(given.study, say)
    for one in found:
        say(f"{one.path}  {bytes_(one.size)}  {one.what}")
    say(f"{given.study}: {_counted(found)} {'would be removed' if given.dry_run else 'removed'}")
    return 0


def _agrees(question: str) -> bool:
    """Ask on a terminal. Raises UserError where there is none to ask on."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError("rm asks first, and there is no terminal to ask on; --yes removes without")
    try:
        return input(f"{printable(question)} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _counted(found: Sequence[Leftover]) -> str:
    count = f"{len(found):,} leftover{'s' * (len(found) != 1)}"
    return f"{count}, {bytes_(sum(one.size for one in found))}," if found else "nothing"
