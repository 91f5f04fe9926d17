"""The start of every program: from here on Ctrl-C is one line, and a closed terminal or pipe ends nothing."""

import sys
from collections.abc import Callable


def start(main: Callable[[], None], stopped: str) -> None:
    """Run a program to its end and exit with its code, 130 after Ctrl-C; `stopped`: the line that is then printed.

    A program imports all it needs in `main`, since imports take seconds.
    """
    code: object = 0
    try:
        from ltsweep.errors import interrupt_kept
        from ltsweep.show.streams import is_lost, keep_streams

        keep_streams()
        with interrupt_kept():
            main()
    except KeyboardInterrupt:
        import signal

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one must not meet Python's last steps
        print(f"\n{stopped}", file=sys.stderr)
        sys.exit(130)
    except SystemExit as end:
        code = end.code
    sys.exit(code or int(is_lost()))  # type: ignore[arg-type]
