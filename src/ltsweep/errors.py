"""Exceptions that a user sees as one line, the hint that ends such a line, and interrupts that other code loses."""

import contextlib
import difflib
import signal
from collections.abc import Iterable, Iterator
from types import FrameType


class UserError(ValueError):
    """A mistake its user can mend. The text says what is wrong, where, and what is allowed, on one line."""


class NotHereError(UserError):
    """The files of a data set are not on this machine, and nothing may be downloaded. The text says which and where."""


class CellFailedError(RuntimeError):
    """A cell failed. The text says why and where its log is, on one line."""


class CannotWriteError(OSError):
    """The disk does not take a record: full, over quota, read-only. The text says which file and why, on one line.

    No cell is to blame, so the whole command stops. What was complete stays so, and the same command goes on from it.
    """


class BrokenFileError(ValueError):
    """A file is not what was written: torn, truncated, empty, foreign, or changed by a single bit."""


def said_within(error: BaseException) -> str | None:
    """Return what a UserError says that another error wraps, as OmegaConf's do of what a resolver raises; else None."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, UserError):
        found = found.__cause__ or found.__context__
    return None if found is None else str(found)


def did_you_mean(name: str, known: Iterable[str], most: int = 1) -> str:
    """Return `did you mean NAME? ` for up to `most` known names near a mistaken one; nothing where none is near."""
    close = difflib.get_close_matches(name, list(known), n=most)
    return f"did you mean {' or '.join(close)}? " if close else ""


@contextlib.contextmanager
def interrupt_kept() -> Iterator[list[int]]:
    """Raise KeyboardInterrupt in place of an error that came after one; yield a list, empty until one comes.

    Hydra can swallow an interrupt on its way to the run mode. In a `finally` it closes a file that one kept from being
    opened, and so OmegaConf, when it is imported, mends a config that one kept from being made. May be nested.
    """
    met: list[int] = []
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        met.append(number)
        before(number, frame)  # type: ignore[operator, misc]

    if callable(before):
        signal.signal(signal.SIGINT, note)
    try:
        yield met
    except Exception as error:
        if met:
            raise KeyboardInterrupt from error
        raise
    finally:
        if signal.getsignal(signal.SIGINT) is note:
            signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Raise KeyboardInterrupt at the end of a block whose imports lost one; for the first import of torch in a command.

    PyTorch's library looks for NumPy while it loads, and takes an interrupt that meets it there for NumPy's absence.
    """
    with interrupt_kept() as met:
        yield
    if met:
        raise KeyboardInterrupt
