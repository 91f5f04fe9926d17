"""The exceptions that are shown to a user as a line, without a traceback, and the hint that ends such a line."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake its user can mend. The text says what is wrong, where, and what is allowed, on one line."""


class CellFailedError(RuntimeError):
    """A cell failed. The text says why and where its log is, on one line."""


class CannotWriteError(OSError):
    """The disk does not take a record: full, over quota, read-only. The text says which file and why, on one line.

    No cell is to blame, so the whole command stops. What was complete stays so, and the same command goes on from it.
    """


class BrokenFileError(ValueError):
    """A file is not what was written: torn, truncated, empty, foreign, or changed by a single bit."""


def did_you_mean(name: str, known: Iterable[str], most: int = 1) -> str:
    """Return `did you mean NAME? ` for up to `most` known names near a mistaken one; nothing where none is near."""
    close = difflib.get_close_matches(name, list(known), n=most)
    return f"did you mean {' or '.join(close)}? " if close else ""
