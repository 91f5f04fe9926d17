"""Fixtures for every test folder. Nothing here imports torch, which the analysis does without."""

import os
import signal
from pathlib import Path

import pytest

# A job in a shell's background ignores Ctrl-C, and so would every command that a test starts there and interrupts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def mnist_dir():
    """Return the folder that holds MNIST/raw, as LTSWEEP_DATA names it; skip where the files are not there."""
    folder = Path(os.environ.get("LTSWEEP_DATA", "data")).absolute()
    if not (folder / "MNIST/raw/train-images-idx3-ubyte").is_file():
        pytest.skip(f"no MNIST files in {folder / 'MNIST/raw'}; set LTSWEEP_DATA")
    return folder


def pytest_collection_modifyitems(items):
    """Begin with the files that take minutes, so that no process is left with one at the end."""
    first = ("slurm", "attack", "test_interrupted", "test_reliability_kills", "test_streams", "test_memory")
    items.sort(key=lambda item: not any(part.removesuffix(".py") in first for part in item.path.parts))
