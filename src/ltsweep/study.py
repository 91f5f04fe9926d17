"""`python -m ltsweep.study COMMAND multirun/<study>`: what a study holds, what can go, how it differs from another."""

from ltsweep.start import start


def main() -> None:
    """Run the command line and exit."""
    start(_keep, "stopped")


def _keep() -> None:
    from ltsweep.cluster.keeping import main

    main()


if __name__ == "__main__":
    main()
