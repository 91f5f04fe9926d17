"""Files of a study: written whole or not at all, checked before they are trusted, never reached through a link."""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from ltsweep.errors import BrokenFileError, CannotWriteError, UserError
from ltsweep.schema import BROKEN

# What status.json notes of a file: size in bytes, time of change in nanoseconds, SHA-256 of the content.
Noted = Sequence[int | str]

# Bytes of the largest file of a study that is read: the initial weights of two billion parameters.
MOST = 8 << 30
# Bytes of a log, from its end, that are kept where it is made a file of its own.
_LOG = 1 << 24
# Bytes that are hashed at a time.
_CHUNK = 1 << 20


def write(path: Path, content: bytes) -> Noted:
    """Write a file beside `path`, move it there once it is on the disk, and return its size, time and SHA-256.

    Raises CannotWriteError, and then leaves an older file at `path` as it was.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.unlink(missing_ok=True)
        try:
            with aside.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        facts = path.stat()
    except OSError as error:
        raise CannotWriteError(f"{path} cannot be written: {error.strerror or error}") from error
    return [facts.st_size, facts.st_mtime_ns, hashlib.sha256(content).hexdigest()]


def append(path: Path, text: str) -> None:
    """Add text to a regular file, made if need be. Raises CannotWriteError, for a link or a pipe too.

    A file with a second name, which may be outside of the study, is first made a file of its own.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        with os.fdopen(os.open(path, flags, 0o666), "a", encoding="utf-8", errors="backslashreplace") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            if facts.st_nlink == 1:
                file.write(text)
                return
        write(path, tail(path, _LOG) + text.encode(errors="backslashreplace"))
    except BrokenFileError as error:
        raise CannotWriteError(f"{path} cannot be written: it {error}") from error
    except OSError as error:
        raise CannotWriteError(f"{path} cannot be written: {error.strerror or error}") from error


def read(path: Path, most: int = MOST) -> bytes:
    """Return the bytes of a regular file of at most `most` bytes.

    Raises FileNotFoundError, or BrokenFileError for anything else.
    """
    with _opened(path, most) as file:
        size = os.fstat(file.fileno()).st_size  # Python takes the memory of as much as it is asked to read
        content = file.read(min(most, size) + 1)
    if len(content) > most:
        raise BrokenFileError(f"holds more than {most:,} bytes")
    return content


def tail(path: Path, most: int) -> bytes:
    """Return the last bytes, `most` at most, of a regular file of any size.

    Raises FileNotFoundError, or BrokenFileError for anything else.
    """
    with _opened(path, sys.maxsize) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - most))
        return file.read(most)


@contextlib.contextmanager
def _opened(path: Path, most: int = MOST) -> Iterator[BinaryIO]:
    """Open a regular file to read it: a pipe in its place must not hang its reader, nor a device fill its memory."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise BrokenFileError("is not a regular file")
            if facts.st_size > most:
                raise BrokenFileError(f"holds {facts.st_size:,} bytes, more than the {most:,} that are read")
            yield file
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        if isinstance(error, BrokenFileError):
            raise
        raise BrokenFileError(f"is not a readable file ({getattr(error, 'strerror', None) or error})") from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a regular file. Raises FileNotFoundError or BrokenFileError."""
    hashed = hashlib.sha256()
    with _opened(path) as file:
        while content := file.read(_CHUNK):
            hashed.update(content)
    return hashed.hexdigest()


def check(path: Path, noted: Noted | None, *, thorough: bool) -> None:
    """Raise BrokenFileError unless a file holds what was noted of it.

    Without a note, as in older records, it must be a regular file. A file whose size and time of change are the noted
    ones is read only if `thorough`.
    """
    try:
        facts = path.lstat()
    except OSError as error:
        raise BrokenFileError("is missing") from error
    if not stat.S_ISREG(facts.st_mode):
        raise BrokenFileError("is not a regular file")
    if noted is None:
        return
    size, changed, digest = noted
    if not thorough and (facts.st_size, facts.st_mtime_ns) == (size, changed):
        return
    if facts.st_size != size:
        raise BrokenFileError(f"holds {facts.st_size:,} bytes, and {size:,} were written")
    if sha256(path) != digest:
        raise BrokenFileError("does not hold what was written (its SHA-256 is another)")


def make(folder: Path) -> None:
    """Make a folder, unless it is there. Its parent must be. Raises CannotWriteError."""
    check_folders(folder)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise CannotWriteError(f"{folder} cannot be made: {error.strerror or error}") from error


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with its content, if it is there. Raises CannotWriteError."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise CannotWriteError(f"{path} cannot be removed: {error.strerror or error}") from error


def set_aside(path: Path, root: Path) -> Path | None:
    """Move a broken file to `root`/.broken, over an older one of its name, and return its new path.

    Returns None if the file is gone. Raises CannotWriteError.
    """
    folder = root / BROKEN
    check_folders(folder)
    target = folder / path.name
    try:
        folder.mkdir(exist_ok=True)
        if target.is_dir() and not target.is_symlink():
            target = folder / f"{path.name}.{os.getpid()}"
        path.replace(target)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CannotWriteError(f"{path} cannot be set aside: {error.strerror or error}") from error
    return target


def leftovers(folder: Path) -> list[Path]:
    """Return the half-written files in `folder`: of processes that were killed, unless one holds it now."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []  # not there yet
    # Ours, and those of safetensors.
    return [folder / name for name in names if re.fullmatch(r"\..+\.\d+|\.tmp\w+", name)]


def drop_leftovers(folder: Path) -> None:
    """Remove the half-written files of killed processes from `folder`. The caller holds it."""
    for path in leftovers(folder):
        with contextlib.suppress(OSError):
            path.unlink()


def check_folders(*folders: Path) -> None:
    """Raise UserError if one of a study's folders is a symbolic link or a file; it need not exist."""
    for folder in folders:
        if folder.is_symlink():
            raise UserError(
                f"{folder} is a symbolic link, and a study never leaves its folder; remove it, or take another "
                "study=NAME (multirun itself may be a link)"
            )
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder} is a file, and must be a folder; move it away, or take another study=NAME")
