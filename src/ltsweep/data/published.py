"""Published data sets in torchvision's layout: downloads by torchvision's own classes, and the hashes it publishes."""

import contextlib
import hashlib
import io
import socket
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from ltsweep.errors import NotHereError, UserError


def fetch(kind: str, folder: Path, source: Callable[[], object], help_line: str, download: bool) -> None:
    """Call `source`, one of torchvision's classes that downloads the missing files of data set `kind` into `folder`.

    Raises NotHereError where `download` is false, and UserError where the files cannot be downloaded.
    """
    if not download:
        raise NotHereError(f"{kind} is not in {folder}; {help_line}")
    try:
        with quiet(20):
            source()
    except Exception as refused:
        reason = " ".join(str(refused).split()) or type(refused).__name__
        raise UserError(f"{kind} is not in {folder} and cannot be downloaded ({reason}); {help_line}") from refused


def check_md5(kind: str, file: Path, md5: str, help_line: str) -> None:
    """Raise UserError unless a file has the MD5 that torchvision publishes."""
    try:
        found = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
        wrong = "" if found == md5 else f"its MD5 is {found}, and should be {md5}"
    except OSError as error:
        wrong = error.strerror or str(error)
    if wrong:
        raise UserError(f"{file} is not {kind}'s, or truncated: {wrong}; {help_line}")


@contextlib.contextmanager
def quiet(seconds: float) -> Iterator[None]:
    """Let a download hang for `seconds` at most, and keep torchvision's own lines and warnings off the terminal."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        socket.setdefaulttimeout(before)
