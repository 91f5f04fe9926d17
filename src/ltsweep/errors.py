"""The exceptions that are shown to a user as a line, without a traceback."""


class UserError(ValueError):
    """A mistake its user can mend. The text says what is wrong, where, and what is allowed, on one line."""


class CannotWriteError(OSError):
    """The disk does not take a record: full, over quota, read-only. The text says which file and why, on one line.

    No cell is to blame, so the whole command stops. What was complete stays so, and the same command goes on from it.
    """


class BrokenFileError(ValueError):
    """A file is not what was written: torn, truncated, empty, foreign, or changed by a single bit."""
