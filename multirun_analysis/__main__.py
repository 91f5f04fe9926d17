"""`python -m multirun_analysis`. Ctrl-C is one line and exit code 130, while packages are imported too."""

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

_INTERRUPTED = "\nmultirun_analysis: interrupted; what was written stays\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command of `command.py` and return its exit code."""
    from multirun_analysis import command

    return command.main(arguments)


def _run() -> int:
    """Run the command in a process of its own; a reader that closes its end of our pipe is no error."""
    code = 0
    try:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background job ignores it
            # Nothing is written yet, and packages do not expect to be interrupted while they are imported.
            signal.signal(signal.SIGINT, _end)
            from multirun_analysis import command  # noqa: F401

            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        code = 130
        sys.stderr.write(_INTERRUPTED)
    except BrokenPipeError:
        code = 141  # as a process that the signal SIGPIPE ends
    except SystemExit as error:  # of the parser
        code = error.code if isinstance(error.code, int) else 2
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _drop_output()
    return code


def _end(signum: int, frame: FrameType | None) -> None:
    os.write(2, _INTERRUPTED.encode())
    os._exit(130)


def _drop_output() -> None:
    """Flush what can still be written, so that Python does not complain of the rest at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    sys.exit(_run())
