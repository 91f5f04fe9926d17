"""The state of a stack in the middle of a level: multirun/<study>/.stacks/<stack>.safetensors."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
from safetensors import safe_open
from safetensors.torch import save

from ltsweep.errors import BrokenFileError
from ltsweep.schema import ARM, MOST_LEVELS, STACKS, VERSION
from ltsweep.store import disk

Tensors = dict[str, torch.Tensor]


class _Sealed(msgspec.Struct):
    """A checkpoint's one entry of metadata."""

    schema: int
    facts: str
    sha256: str


class _Facts(msgspec.Struct):
    """What every checkpoint says beside its tensors: where it is, and the rows of the level so far, key -> rows."""

    level: Annotated[int, msgspec.Meta(ge=0, le=MOST_LEVELS)]
    arms: list[Annotated[str, msgspec.Meta(pattern=rf"\A{ARM}\Z")]]
    step: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    seconds: float
    rows: dict[str, list[dict[str, Any]]]
    readings: dict[str, list[dict[str, Any]]]


def save_checkpoint(study: Path, stack: str, facts: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    """Write the state of a stack over its last one: plain facts, which become JSON, and tensors by name."""
    text = json.dumps(dict(facts))
    contiguous = {name: value.contiguous() for name, value in tensors.items()}
    sealed = {"schema": VERSION, "facts": text, "sha256": _digest(text, contiguous)}
    path = checkpoint_path(study, stack)
    disk.make(path.parent)
    disk.write(path, save(contiguous, metadata={"checkpoint": json.dumps(sealed)}))


def load_checkpoint(study: Path, stack: str) -> tuple[dict[str, Any], Tensors] | None:
    """Return the facts and tensors of a stack's last checkpoint; None if it has none. Raises BrokenFileError."""
    path = checkpoint_path(study, stack)
    disk.check_folders(path.parent)
    if not os.path.lexists(path):
        return None
    disk.check(path, None, thorough=False)
    try:
        with safe_open(path, framework="pt") as file:
            sealed = msgspec.json.decode(file.metadata()["checkpoint"], type=_Sealed)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
        if sealed.schema != VERSION:
            raise BrokenFileError(f"is of version {sealed.schema}, and this ltsweep knows {VERSION}")
        if sealed.sha256 != _digest(sealed.facts, tensors):
            raise BrokenFileError("does not hold what was written (its SHA-256 is another)")
        facts = json.loads(sealed.facts)  # not by msgspec: rows hold NaN
        msgspec.convert(facts, _Facts)
        return facts, tensors
    except BrokenFileError:
        raise
    except Exception as error:
        raise BrokenFileError("is not a checkpoint, or not whole") from error


def stack_name(keys: Iterable[str]) -> str:
    """Return the name of the stack of the cells with these keys."""
    return hashlib.sha256(" ".join(sorted(keys)).encode()).hexdigest()[:16]


def drop_checkpoint(study: Path, stack: str) -> None:
    """Remove a stack's checkpoint, if it has one."""
    disk.remove(checkpoint_path(study, stack))


def drop_leftovers(study: Path) -> None:
    """Remove half-written checkpoints of killed processes, and an empty folder. The caller holds the study."""
    disk.check_folders(study / STACKS)
    disk.drop_leftovers(study / STACKS)
    with contextlib.suppress(OSError):  # other stacks have checkpoints, or there never were any
        (study / STACKS).rmdir()


def checkpoint_path(study: Path, stack: str) -> Path:
    """Return the path of a stack's checkpoint, which need not exist."""
    return study / STACKS / f"{stack}.safetensors"


def _digest(facts: str, tensors: Mapping[str, torch.Tensor]) -> str:
    hashed = hashlib.sha256(facts.encode())
    for name, tensor in sorted(tensors.items()):
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        hashed.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]
    return hashed.hexdigest()
