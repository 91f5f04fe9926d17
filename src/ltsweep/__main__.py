"""`python -m ltsweep`."""

from ltsweep.command import main

if __name__ == "__main__":
    main()
