"""`python -m ltsweep`."""

from ltsweep.start import start


def main() -> None:
    """Run the command line and exit."""
    start(_command, "stopped; the same command goes on from the last finished level")


def _command() -> None:
    import signal

    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a closed terminal: a study goes on, and so do its workers
    from ltsweep.command import main

    main()


if __name__ == "__main__":
    main()
