"""`python -m ltsweep`, and the script `ltsweep`."""

from ltsweep.start import start


def main() -> None:
    """Run the command line and exit."""
    start(_command, "stopped; the same command goes on from the last finished level")


def _command() -> None:
    import signal
    import sys

    if not getattr(sys.flags, "safe_path", sys.flags.isolated):
        sys.path.insert(0, "")  # for the script what `python -m` does: your own modules lie where you run it
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a closed terminal: a study goes on, and so do its workers
    from ltsweep.command import main

    main()


if __name__ == "__main__":
    main()
