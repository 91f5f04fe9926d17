"""The end of a program that looks at a study: a mistake is one line, and an exit code."""

import sys
from collections.abc import Callable
from typing import NoReturn

from ltsweep.errors import CannotWriteError, UserError
from ltsweep.words import printable


def exit_after(work: Callable[[], int | None]) -> NoReturn:
    """Do the work and exit with the code that it returns: 1 where the disk takes no more, 2 for a user's mistake."""
    try:
        sys.exit(work())
    except CannotWriteError as error:
        _say(error)
        sys.exit(1)
    except (UserError, OSError) as error:
        _say(error)
        sys.exit(2)


def _say(error: Exception) -> None:
    print(f"ltsweep: {printable(' '.join(str(error).split()))}", file=sys.stderr)
