"""A part of the campaign of `make attack`: mutants of a real study, each given to what a user runs on it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MUTANTS = 1_000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits memory as Linux does"),
]


@pytest.fixture(scope="module")
def campaign():
    """Return the exit code of the campaign and what it printed."""
    arguments = ("--prove", "--mutants", str(MUTANTS), "--kinds", "--processes", str(min(2, os.cpu_count())))
    command = [sys.executable, "-m", "benchmarks.attack", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def test_no_mutant_of_a_study_does_harm(campaign):
    """No traceback, hang or flood of memory; no other number; nothing touched outside the study, nothing run."""
    code, out = campaign
    assert code == 0, out
    assert int(re.search(r"^(\d+) mutants, ", out, re.MULTILINE)[1]) > 300
    assert "never noticed" not in out


def test_the_campaign_sees_every_kind_of_failure(campaign):
    _, out = campaign
    assert out.count(": seen\n") >= 10
    assert "NOT SEEN" not in out
