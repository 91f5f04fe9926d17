"""`python -m ltsweep.status multirun/<study>`: where every cell stands, at any time, from any machine."""

from ltsweep.start import start


def main() -> None:
    """Show how a study stands, and exit."""
    start(_standings, "stopped")


def _standings() -> None:
    from ltsweep.cluster.standings import main

    main()


if __name__ == "__main__":
    main()
