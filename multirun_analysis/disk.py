"""Write files whole or not at all, as the engine does, with an error that names this command's option."""

from pathlib import Path

from ltsweep.errors import CannotWriteError
from ltsweep.store import disk
from multirun_analysis.errors import AnalysisError


def write(path: Path, content: bytes) -> None:
    """Write `content` to `path` and make its folder; a reader sees the old file or the new one, never a part.

    Raises AnalysisError where that fails: no right to write there, a full disk, a file in a folder's place.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        disk.write(path, content)
    except OSError as error:
        cause = error.__cause__ if isinstance(error, CannotWriteError) else error
        why = cause.strerror if isinstance(cause, OSError) else None
        raise AnalysisError(f"{path}: cannot be written: {why or cause}; --out names another folder") from None
