"""Write files whole or not at all, as the engine does, with an error that names this command's option."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from ltsweep.errors import CannotWriteError
from ltsweep.store import disk
from multirun_analysis.errors import AnalysisError


def write(path: Path, content: bytes) -> disk.Noted:
    """Write `content` to `path`, and return its size, time of change and SHA-256.

    A reader sees the old file or the new one, never a part. Raises AnalysisError where that fails: no right to write
    there, a full disk.
    """
    try:
        return disk.write(path, content)
    except OSError as error:
        raise _refused(path, error) from None


def remove(path: Path) -> None:
    """Remove a file, if it is there. Raises AnalysisError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _refused(path, error) from None


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold a folder while the block runs, so that no other analysis writes there; make it, and wait for it.

    Raises AnalysisError where it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"multirun_analysis: {folder} is being written by another analysis; waiting for it", file=sys.stderr)
            lock.acquire()
    except (OSError, NotImplementedError) as error:  # filelock raises the latter on disks that carry no locks
        raise _refused(folder, error) from None
    try:
        disk.drop_leftovers(folder)  # of an analysis that was killed
        yield
    finally:
        lock.release()


def _refused(path: Path, error: Exception) -> AnalysisError:
    cause = error.__cause__ if isinstance(error, CannotWriteError) else error
    why = cause.strerror if isinstance(cause, OSError) else None
    return AnalysisError(f"{path}: cannot be written: {why or cause}; --out names another folder")
