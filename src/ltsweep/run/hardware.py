"""The hardware that a result was made on."""

import functools
import os
import platform
from pathlib import Path

import torch

from ltsweep.engine import gemm


def hardware(device: torch.device) -> dict[str, str | int]:
    """Return the host, the processor and its cores; also the GPU, or on a CPU the library of the matrix products."""
    common: dict[str, str | int] = {"host": platform.node(), "cpu": _cpu_name(), "cores": os.cpu_count() or 0}
    if device.type == "cuda":
        return common | {"gpu": torch.cuda.get_device_name(device)}
    return common | {"products": gemm.backend()}


@functools.cache
def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
