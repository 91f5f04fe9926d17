"""Batched matrix products on a CPU, by the faster of two libraries.

PyTorch's own products go to MKL, which leaves AVX-512 unused on processors that are not Intel's: half of what an AMD
EPYC of 2024 can do. There numpy multiplies 32-bit floats, since its OpenBLAS does use AVX-512. The processor alone
decides the library, never a measurement, so a machine gives the same bits again and again.

Letters: C products of (M, K) by (K, N).
"""

import functools
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_info
from torch import Tensor


def bmm(a: Tensor, b: Tensor) -> Tensor:
    """Return a @ b for a of (C, M, K) and b of (C, K, N), as a fresh tensor (C, M, N)."""
    out = torch.empty(a.shape[0], a.shape[1], b.shape[2], dtype=a.dtype)
    bound(a, b, out)()
    return out


def bound(a: Tensor, b: Tensor, out: Tensor) -> Callable[[], object]:
    """Return a function that writes a @ b to `out` at each call, on the memory that the three tensors have now."""
    if not (by_numpy() and a.dtype == b.dtype == torch.float32):
        return functools.partial(torch.bmm, a.detach(), b.detach(), out=out)
    return functools.partial(_multiply, a.detach().numpy(), b.detach().numpy(), out.numpy())


def _multiply(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    with np.errstate(all="ignore"):  # a network may diverge; its loss shows it
        np.matmul(a, b, out=out)


@functools.cache
def by_numpy() -> bool:
    """Return whether numpy multiplies faster than PyTorch on this machine."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return False
    try:
        return prefers_numpy(Path("/proc/cpuinfo").read_text())
    except OSError:
        return False


def prefers_numpy(cpuinfo: str) -> bool:
    """Return whether numpy multiplies faster than PyTorch: on AMD's processors with AVX-512, by Linux's cpuinfo."""
    words = cpuinfo.partition("\n\n")[0].split()
    return "AuthenticAMD" in words and "avx512f" in words


@functools.cache
def backend() -> str:
    """Return the library of the batched products, with its version and processor kernels, which decide the bits."""
    if not by_numpy():
        return "PyTorch's own"
    loaded = [each for each in threadpool_info() if each["user_api"] == "blas"]
    own = [each for each in loaded if "numpy" in each["filepath"]] or loaded  # scipy loads another copy
    return " ".join(str(own[0].get(name, "")) for name in ("internal_api", "version", "architecture")).strip()
