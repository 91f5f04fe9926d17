"""What a result was made with: code, packages, hardware."""

import functools
import hashlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import ltsweep

if TYPE_CHECKING:
    import torch

# The whole package's folder, not that of this file: a hash of one folder would let changed code pass for the same.
PACKAGE = Path(ltsweep.__file__).resolve().parent
PACKAGES = ("ltsweep", "torch", "torchvision", "hydra-core", "omegaconf", "numpy", "pyarrow", "safetensors")


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of Python, this code (its commit too, in a checkout) and the packages that matter."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    commit = _git("rev-parse", "HEAD")
    if commit:
        found["commit"] = commit + ("-dirty" if _git("status", "--porcelain", "--untracked-files=no") else "")
    found["code"] = _code()
    return found


def changed(before: dict[str, str]) -> str:
    """Return in words how the code and the packages of now differ from `before`; nothing if they are the same.

    The commit does not count: another one may hold the same code, and edited files have none.
    """
    now = versions()
    different = [name for name in {**before, **now} if name != "commit" and before.get(name) != now.get(name)]
    return ", ".join(f"{name} was {before.get(name, 'absent')}, is {now.get(name, 'absent')}" for name in different)


def _code() -> str:
    """Return a hash of this package's source files, which tells uncommitted changes apart too."""
    hashed = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        hashed.update(f"{path.relative_to(PACKAGE)}\0".encode() + path.read_bytes())
    return hashed.hexdigest()[:16]


def hardware(device: "torch.device") -> dict[str, str | int]:
    """Return the host, the processor and, where one is used, the GPU; where none is, what makes the matrix products."""
    found: dict[str, str | int] = {"host": platform.node(), "cpu": _cpu_name(), "cores": os.cpu_count() or 0}
    if device.type == "cuda":
        import torch  # slow, and who only asks for versions does without

        return found | {"gpu": torch.cuda.get_device_name(device)}
    from ltsweep.engine import gemm  # slow too

    return found | {"products": gemm.backend()}


@functools.cache
def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str:
    """Return what git says of the checkout that the package lies in, or nothing: an installed wheel has none."""
    if not (PACKAGE.parents[1] / ".git").exists():
        return ""
    try:
        answer = subprocess.run(
            ["git", *arguments], cwd=PACKAGE, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()
