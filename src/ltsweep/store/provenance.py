"""The code and the packages that a result was made with."""

import functools
import hashlib
import platform
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

import ltsweep

# The whole package's folder: a hash of this file's folder alone would let changed code elsewhere pass for the same.
PACKAGE = Path(ltsweep.__file__).resolve().parent
# Packages whose versions can change a number or the form of a record.
PACKAGES = ("ltsweep", "torch", "torchvision", "hydra-core", "omegaconf", "numpy", "pyarrow", "safetensors")
# Seconds after which a git that hangs counts as none.
_TIMEOUT = 10


@functools.cache
def versions() -> dict[str, str]:
    """Return name -> version of Python, of `PACKAGES` and of this code: its hash and, in a checkout, its commit."""
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


def changed(before: Mapping[str, str]) -> str:
    """Return in words how today's versions differ from `before`; an empty text if they do not.

    The commit does not count: another commit may hold the same code, and edited files have none.
    """
    now = versions()
    different = [name for name in {**before, **now} if name != "commit" and before.get(name) != now.get(name)]
    return ", ".join(f"{name} was {before.get(name, 'absent')}, is {now.get(name, 'absent')}" for name in different)


def maker(before: Mapping[str, str]) -> str:
    """Return the version of ltsweep in `before`, with its commit; of edited code and a wheel, the hash of the code."""
    commit, code = before.get("commit", ""), before.get("code", "")
    exact = f"source {code[:7]}" if code and (not commit or commit.endswith("-dirty")) else commit[:7]
    return f"{before.get('ltsweep', '')} ({exact})".removesuffix(" ()").strip()


def makers(recorded: Iterable[Mapping[str, str]]) -> list[tuple[str, int]]:
    """Return pairs of a version of ltsweep, as `maker` has it, and the number of records it made, most first.

    recorded: the versions of each record. Records of the same code have one maker, whatever the commit.
    """
    names: dict[tuple[str, str], str] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for before in recorded:
        if name := maker(before):
            code = before.get("ltsweep", ""), before.get("code") or before.get("commit", "")
            names[code] = min(name, names.get(code, name))
            counts[code] += 1
    return sorted(((names[code], count) for code, count in counts.items()), key=lambda pair: (-pair[1], pair[0]))


def _code() -> str:
    """Return a hash of this package's source files, which tells uncommitted changes apart too."""
    hashed = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        hashed.update(f"{path.relative_to(PACKAGE)}\0".encode() + path.read_bytes())
    return hashed.hexdigest()[:16]


def _git(*arguments: str) -> str:
    """Return git's answer about the checkout that holds the package, or an empty text: an installed wheel has none."""
    if not (PACKAGE.parents[1] / ".git").exists():
        return ""
    try:
        answer = subprocess.run(
            ["git", *arguments], cwd=PACKAGE, capture_output=True, text=True, timeout=_TIMEOUT, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()
