"""Standard output and error that outlive their reader: what a closed pipe or terminal does not take goes to a file."""

import contextlib
import errno
import io
import os
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO, cast

from ltsweep.schema import STUDY_LOG
from ltsweep.store import disk

# Characters that are kept until there is a file for them, the last ones of more.
_KEPT = 1_000_000

# What moves a terminal's cursor or colours its text, of which a file holds nothing.
_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Stream:
    """A stream that never fails: from its first error on, its text is kept, and goes to a file once that is known."""

    def __init__(self, stream: TextIO | None, name: str, beside: "Stream | None" = None) -> None:
        """Write to `stream`, None for a closed one. beside: the stream on which a user is told of an error."""
        self.stream, self.name, self.beside = stream, name, beside
        self.error: OSError | None = None
        self.path: Path | None = None
        self._kept, self._begun = "", False
        if stream is None:
            self.error = OSError(errno.EBADF, "it is closed")

    def write(self, text: str) -> int:
        """Write text at once, or keep it."""
        self._try(text)
        if self.error is not None:
            self._keep(_CODES.sub("", text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write lines, or keep them."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Write what others wrote to the buffer of the stream."""
        self._try("")

    def isatty(self) -> bool:
        """Return whether the stream is a terminal that still takes text."""
        return self.error is None and self.stream is not None and self.stream.isatty()

    def __getattr__(self, name: str) -> Any:
        """Return anything else of the stream itself, such as its encoding."""
        return getattr(self.stream, name)

    def rest_in(self, path: Path) -> None:
        """Let `path` take what the stream does not, from now on and from before."""
        new, self.path = self.path is None, path
        if new and self.error is not None:
            self.tell()
            kept, self._kept = self._kept, ""
            self._keep(kept)

    def _try(self, text: str) -> None:
        if self.error is not None or self.stream is None:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError as error:
            self.error = error
            with contextlib.suppress(OSError, ValueError):  # so that nothing fails when Python flushes it at the end
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())
            if self.path is not None:
                self.tell()

    def tell(self) -> None:
        """Say on the other stream that this one takes no more, why, and where the rest is."""
        if self.beside is not None:
            where = "" if self.path is None else f"; the rest is in {self.path}"
            self.beside.write(f"ltsweep: {self._why()}{where}\n")

    def _why(self) -> str:
        return f"{self.name} cannot be written: {self.error and self.error.strerror}"

    def _keep(self, text: str) -> None:
        if self.path is None or not text:
            self._kept = (self._kept + text)[-_KEPT:]
            return
        if not self._begun:
            self._begun = True
            text = f"{datetime.now().isoformat(sep=' ', timespec='seconds')}  {self._why()}; the rest:\n{text}"
        with contextlib.suppress(OSError):  # the last place that there was
            disk.append(self.path, text)


def keep_streams(tell: bool = True) -> None:
    """Make standard output and error of this process streams that never fail, and that escape what they cannot encode.

    tell: whether a user is told when one takes no more.
    """
    with contextlib.suppress(OSError):
        while (free := os.open(os.devnull, os.O_RDWR)) <= 2:  # else a closed stream's number would be a study's file
            pass
        os.close(free)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    error = Stream(sys.stderr, "standard error")
    sys.stderr = cast(TextIO, error)
    sys.stdout = cast(TextIO, Stream(sys.stdout, "standard output", error if tell else None))


def rest_in(study: Path) -> None:
    """Let the log of a study, whose folder is there, take what standard output and error do not."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Stream):
            stream.rest_in(study / STUDY_LOG)


def is_lost() -> bool:
    """Return whether output was lost, and say so: no file takes it, and its reader did not just leave."""
    found = False
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Stream) and stream.error and not stream.path and stream.error.errno != errno.EPIPE:
            stream.tell()
            found = True
    return found
