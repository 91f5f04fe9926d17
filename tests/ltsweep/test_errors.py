"""What becomes of an interrupt on its way through code that is not ours."""

import contextlib
import signal
import subprocess
import sys

import pytest

from ltsweep.errors import UserError, interrupt_kept, loading


def run(script, *arguments, folder=None):
    """Return the exit code, output and errors of a program."""
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=folder, text=True, capture_output=True, timeout=60
    )
    return ended.returncode, ended.stdout, ended.stderr


def opened_by_hydra():
    """Do as Hydra's reader of a config does, where the interrupt meets it in `open`."""
    try:
        signal.raise_signal(signal.SIGINT)
        file = None
    finally:
        file.close()


def another():
    try:
        raise KeyError("file")
    except KeyError as error:
        raise UserError("not so") from error


def swallowed():
    """Lose the interrupt on the way, and raise something else."""
    with contextlib.suppress(BaseException):
        signal.raise_signal(signal.SIGINT)
    raise UserError("hydra.mode=RUN is refused")


def wrapped():
    try:
        opened_by_hydra()
    except UnboundLocalError as error:
        raise UserError("not so") from error


@pytest.mark.parametrize("work", [opened_by_hydra, wrapped, swallowed])
def test_an_error_after_an_interrupt_is_the_interrupt(work):
    with pytest.raises(KeyboardInterrupt), interrupt_kept():
        work()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("work", [opened_by_hydra, wrapped, swallowed])
def test_so_it_is_where_one_is_within_another(work):
    def within():
        with interrupt_kept():
            work()

    with interrupt_kept(), pytest.raises(KeyboardInterrupt):  # the inner one says so already
        within()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_program_of_which_an_error_follows_an_interrupt_was_stopped():
    script = (
        "import signal\n"
        "from ltsweep.start import start\n"
        "def imported():\n"
        "    try:\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "    finally:\n"
        "        {}['a config that is not yet made']\n"
        "start(imported, 'stopped')\n"
    )
    assert run(script) == (130, "", "\nstopped\n")


def test_an_interrupt_that_is_lost_while_loading_is_raised_after_it():
    with pytest.raises(KeyboardInterrupt), loading(), contextlib.suppress(BaseException):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_loading_without_an_interrupt_raises_nothing():
    with loading():
        import ltsweep.words  # noqa: F401


@pytest.mark.parametrize(
    "arguments", [("dry_run=true",), ("hydra/launcher=basic", "levels=0", "iterations=1", "workers=1")], ids=str
)
def test_the_interrupt_that_torch_loses_ends_the_command(tmp_path, arguments):
    """The real thing: while it loads, PyTorch's library asks Python for NumPy, and takes any error for its absence."""
    script = (
        "import runpy, signal, sys\n"
        "class Met:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name == 'numpy':\n"
        "            sys.meta_path.remove(Met)\n"
        "            assert 'torch' in sys.modules\n"
        "            signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Met)\n"
        "runpy.run_module('ltsweep', run_name='__main__', alter_sys=True)\n"
    )
    assert run(script, *arguments, "dataset=digits", "device=cpu", folder=tmp_path) == (
        130, "", "\nstopped; the same command goes on from the last finished level\n",
    )  # fmt: skip
    assert not list(tmp_path.rglob("status.json"))


def test_any_other_error_stays_itself():
    with pytest.raises(UserError, match="not so"), interrupt_kept():
        another()
