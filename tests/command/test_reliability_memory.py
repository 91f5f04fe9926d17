"""A stack that does not fit into memory is halved and goes on, and no cell comes to harm."""

import os
import subprocess
import sys

import pytest
import torch

# Lets the command have so many bytes more than it has once everything is imported.
LIMITED = """
import resource, sys
import pandas, pyarrow.parquet, safetensors.torch
import ltsweep.run.study
from ltsweep.command import main
held = int(next(line for line in open("/proc/self/status") if line.startswith("VmData")).split()[1]) * 1024
limit = held + int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
main()
"""
# The convolutions of eight cells take about 800 MB for one step on all examples, of four about 400.
GRID = ("-m", "seed=0,1,2,3,4,5,6,7", "model=lenet5", "levels=0", "iterations=1", "batch_size=1237", "workers=1")
GRID = (*GRID, "evaluate_train=false", "evaluate_test=10")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="bounds memory as Linux does")
def test_a_stack_that_does_not_fit_is_halved_and_every_cell_ends_as_it_would_have(command, small):
    # Freed memory goes back at once, so that what is counted is what is held.
    environment = {name: value for name, value in os.environ.items() if name != "LTSWEEP_DATA"}
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED, "500_000_000", *GRID, *small, "stack_size=8"],
        cwd=command.folder,
        env=environment | {"MALLOC_MMAP_THRESHOLD_": "65536"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "a stack of 8 failed (RuntimeError: " in ended.stdout
    assert "can't allocate memory" in ended.stdout
    assert "its halves go on apart" in ended.stdout
    assert "8 done" in ended.stdout
    for cell in command.study().cells().values():
        assert cell.status["stack_cells"] < 8
        assert cell.status["error"] is None
        assert "a stack of 8 failed" in cell.log
        assert "Traceback" not in cell.log
    command.inside(*GRID, *small, "stack_size=4", "study=whole")
    command.study().assert_same_records(command.study("whole"), tolerance=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_stack_that_does_not_fit_on_the_device_is_halved(command):
    grid = ("-m", f"seed={','.join(map(str, range(32)))}", "dataset=digits", "model=lenet5", "levels=0")
    grid = (*grid, "iterations=1", "batch_size=1237", "device=cuda:0", "stack_size=32")
    torch.cuda.set_per_process_memory_fraction(2 * 2**30 / torch.cuda.get_device_properties(0).total_memory)
    try:
        ended = command.inside(*grid)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "a stack of 32 failed (OutOfMemoryError: " in ended.out
    assert "32 done" in ended.out
