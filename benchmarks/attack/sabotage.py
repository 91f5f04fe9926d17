"""Readers that do wrong on purpose, one for each kind of failure: the campaign must see every one of them."""

import functools
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.attack import readers
from benchmarks.attack.children import MEMORY
from benchmarks.attack.study import STUDY, World


def _replaced(work: Callable[[], object], lie: bool = False) -> None:
    """Let `python -m ltsweep.status` do something beside its work, or in its place."""
    from ltsweep.cluster import standings as status

    main = status.main

    def worse(arguments: list[str]) -> None:
        if not lie:
            main(arguments)
        work()

    status.main = worse  # type: ignore[assignment]


def _raise() -> None:
    raise KeyError("levels")


def _eat() -> None:
    bytearray(2 * MEMORY)  # at once: to fill it little by little takes longer than a reader may


def _hang() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    time.sleep(1000)


def _refuse(code: int, text: str) -> None:
    sys.stderr.write(text)
    sys.exit(code)


def _changed_cells(change: Callable[[readers.Seen], None], *names: str) -> None:
    """Let a reader show something else than the program did."""
    for name in names:
        read = readers.READERS[name]

        def changed(world: World, read: Callable[[World], readers.Seen] = read) -> readers.Seen:
            seen = read(world)
            if not seen.code and not seen.trace:
                change(seen)
            return seen

        readers.READERS[name] = changed


def _other_numbers(seen: readers.Seen) -> None:
    """Change one number of every cell, whatever the reader shows."""
    for key, cell in seen.cells.items():
        if "levels" in cell and isinstance(cell["levels"], list):
            for row in cell["levels"]:
                row["final_test_accuracy"] = "0.9999"
        elif "tensors" in cell:
            seen.cells[key] = cell | {"tensors": dict.fromkeys(cell["tensors"], "other")}
        else:
            seen.cells[key] = cell | {next(iter(cell)): "other"}


# The readers that show numbers, each of which must be seen to show others.
SHOWING = ("status", "analysis", "tensors", "checkpoint", "sweeper", "forced", "command")
LISTING = ("status", "analysis")


def _lost(seen: readers.Seen) -> None:
    seen.cells.pop(next(iter(seen.cells)), None)


def _touch(path: str, how: Callable[[Path], object]) -> None:
    _replaced(lambda: how(Path(STUDY).parents[1] / path))


def _trace() -> None:
    (Path.cwd() / "it-ran").touch()


KINDS: dict[str, Callable[[], None]] = {
    "traceback": lambda: _replaced(_raise),
    "memory": lambda: _replaced(_eat),
    "hang": lambda: _replaced(_hang),
    "died": lambda: _replaced(lambda: os.kill(os.getpid(), signal.SIGSEGV)),
    "other numbers": lambda: _changed_cells(_other_numbers, *SHOWING),
    "lost": lambda: _changed_cells(_lost, *LISTING),
    "touched outside": lambda: _touch("thesis.tex", lambda path: path.unlink(missing_ok=True)),
    "ran code": lambda: _replaced(_trace),
    "terminal codes": lambda: _replaced(lambda: print("\x1b[2J", file=sys.stderr)),
    "many lines": lambda: _replaced(functools.partial(_refuse, 2, "one\ntwo\n"), lie=True),
    "noise": lambda: _replaced(lambda: print("a warning", file=sys.stderr)),
    "exit code": lambda: _replaced(functools.partial(_refuse, 3, "three\n"), lie=True),
}
