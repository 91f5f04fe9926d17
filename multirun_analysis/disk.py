"""Files written whole or not at all: aside, then moved."""

import os
from pathlib import Path

from multirun_analysis.errors import AnalysisError


def write(path: Path, content: bytes) -> None:
    """Write `content` to `path`, making its folder; a reader sees the old file or the new one, never a part.

    Raises AnalysisError where that cannot be done: no right to write there, a full disk, a file in a folder's place.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise AnalysisError(f"{path}: cannot be written: {error.strerror}; --out names another folder") from None
