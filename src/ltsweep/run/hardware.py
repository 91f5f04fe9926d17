"""This machine's hardware: names for the records, devices, free memory and cores."""

import functools
import math
import os
import platform
from pathlib import Path

import torch

from ltsweep.engine import gemm
from ltsweep.engine.ranks import part
from ltsweep.errors import UserError
from ltsweep.words import shown


def hardware(device: torch.device) -> dict[str, str | int]:
    """Return the names of host and processor, and the cores; also the GPU, or on a CPU the matrix library.

    Where several processes train together, their number too.
    """
    common: dict[str, str | int] = {"host": platform.node(), "cpu": _cpu_name(), "cores": os.cpu_count() or 0}
    if part().of > 1:
        common["processes"] = part().of
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


def find_devices(name: str) -> list[torch.device]:
    """Return the devices of `device=name`; cuda is every GPU, and auto the same or, without a GPU, the CPU.

    Raises UserError for an unknown name, and for a GPU that this machine lacks.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not gpus):
        return [torch.device("cpu")]
    if name in ("auto", "cuda") and gpus:
        return [torch.device("cuda", i) for i in range(gpus)]
    kind, _, number = str(name).partition(":")
    if kind == "cuda" and number.isdecimal() and int(number) < gpus:
        return [torch.device("cuda", int(number))]
    if kind == "cuda":
        raise UserError(
            f"device={shown(name)}: this machine has {gpus or 'no'} CUDA device{'s' * (gpus != 1)}; device=cpu works"
        )
    raise UserError(f"device={shown(name)} is unknown; choose auto, cpu, cuda, or one GPU such as cuda:1")


def free_bytes(device: torch.device) -> float:
    """Return the free bytes of a GPU, or the bytes of memory that Linux calls available; elsewhere infinity."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo") as file:
            kilobytes = next(line.split()[1] for line in file if line.startswith("MemAvailable:"))
        return 1024.0 * int(kilobytes)
    except (OSError, StopIteration):
        return math.inf


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_precision(precision: str) -> None:
    """Let a GPU round products and convolutions of 32-bit floats to TF32 only for `tf32`, and sum in a fixed order.

    By default cuDNN rounds to TF32, and takes algorithms that sum in any order.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.deterministic = True
