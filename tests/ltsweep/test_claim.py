"""One study, one process: on one machine, and on several that share a file system."""

import os
import subprocess
import sys

import pytest

from ltsweep.claim import claim
from ltsweep.errors import UserError

HOLDER = """
import sys
from pathlib import Path
from ltsweep.claim import claim
with claim(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Return a process that holds a study until its input ends."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "study")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_study_held_by_another_process_is_refused_and_free_when_that_process_dies(tmp_path, holder):
    study = tmp_path / "study"
    for _ in range(2):
        with (
            pytest.raises(UserError, match=rf"{study} is being computed by process {holder.pid} on ") as caught,
            claim(study),
        ):
            pass
        assert "\n" not in str(caught.value)
    with claim(tmp_path / "other"):
        pass
    holder.kill()
    holder.wait()
    with claim(study):
        assert f"process {os.getpid()}" in (study / ".owner").read_text()


def test_a_claim_ends_with_its_block_even_by_an_exception(tmp_path):
    for _ in range(2):
        with pytest.raises(RuntimeError, match="inside"), claim(tmp_path / "study"):
            raise RuntimeError("inside")
    with claim(tmp_path / "study"), pytest.raises(UserError, match="is being computed by"), claim(tmp_path / "study"):
        pass


def test_a_refused_claim_does_not_take_the_holders_name_away(tmp_path):
    with claim(tmp_path):
        for _ in range(2):
            with pytest.raises(UserError, match=f"process {os.getpid()}"), claim(tmp_path):
                pass


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written .*study=NAME$"), claim(tmp_path / "file/study"):
        pass
