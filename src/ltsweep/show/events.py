"""What happens while a study runs: the one union that travels from a stack to whoever watches."""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class News:
    """One cell's progress.

    done: optimizer steps that all its networks have taken. score: its ticket's score on test data, None while controls
    alone are trained; headline: the name of that score. remaining: the share of its ticket's weights that are left.
    """

    key: str
    status: str
    level: int = 0
    done: int = 0
    score: float | None = None
    remaining: float | None = None
    headline: str = ""


@dataclass(frozen=True)
class Note:
    """A line for the user that is not about one cell's progress."""

    text: str


@dataclass(frozen=True)
class DiskFull:
    """The disk takes no more records: the whole command stops. The text says which file and why."""

    text: str


@dataclass(frozen=True)
class Died:
    """The process that trained a stack died, by a signal or for lack of memory, and took only its stack along."""


Event: TypeAlias = News | Note | DiskFull | Died
