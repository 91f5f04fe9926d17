"""The state of a stack in the middle of a level: multirun/<study>/.stacks/<stack>.safetensors."""

import contextlib
import hashlib
import json
import os
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save

from ltsweep.engine.stack import Tensors
from ltsweep.errors import BrokenFileError
from ltsweep.lottery.loop import Checkpoint
from ltsweep.schema import VERSION as SCHEMA
from ltsweep.store import disk


def save_checkpoint(study: Path, stack: str, checkpoint: Checkpoint) -> None:
    """Write the state of a stack in the middle of a level, over its last one."""
    facts = json.dumps(
        {"level": checkpoint.level, "step": checkpoint.step, "seconds": checkpoint.seconds, "rows": checkpoint.rows}
    )
    tensors = {name: value.contiguous() for name, value in checkpoint.tensors.items()}
    sealed = {"schema": SCHEMA, "facts": facts, "sha256": _digest(facts, tensors)}
    path = checkpoint_path(study, stack)
    disk.make(path.parent)
    disk.write(path, save(tensors, metadata={"checkpoint": json.dumps(sealed)}))


def load_checkpoint(study: Path, stack: str) -> Checkpoint | None:
    """Return what a stack was last in the middle of, None if nothing. Raises BrokenFileError."""
    path = checkpoint_path(study, stack)
    disk.need_folders(path.parent)
    if not os.path.lexists(path):
        return None
    disk.check(path, None, thorough=False)
    try:
        with safe_open(path, framework="pt") as file:
            sealed = json.loads(file.metadata()["checkpoint"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
        if sealed["schema"] != SCHEMA:
            raise BrokenFileError(f"is of version {sealed['schema']}, and this ltsweep knows {SCHEMA}")
        if sealed["sha256"] != _digest(sealed["facts"], tensors):
            raise BrokenFileError("does not hold what was written (its SHA-256 is another)")
        return Checkpoint(**json.loads(sealed["facts"]), tensors=tensors)
    except BrokenFileError:
        raise
    except Exception as error:
        raise BrokenFileError("is no checkpoint, or not whole") from error


def drop_checkpoint(study: Path, stack: str) -> None:
    """Forget what a stack was in the middle of."""
    disk.remove(checkpoint_path(study, stack))


def drop_leftovers(study: Path) -> None:
    """Remove what killed processes were writing beside the checkpoints. Only for who holds the whole study."""
    disk.need_folders(study / ".stacks")
    disk.drop_leftovers(study / ".stacks")
    with contextlib.suppress(OSError):  # other stacks are in the middle of a level, or there never were any
        (study / ".stacks").rmdir()


def checkpoint_path(study: Path, stack: str) -> Path:
    """Return where the state of a stack in the middle of a level is kept."""
    return study / ".stacks" / f"{stack}.safetensors"


def _digest(facts: str, tensors: Tensors) -> str:
    hashed = hashlib.sha256(facts.encode())
    for name, tensor in sorted(tensors.items()):
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        hashed.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]
    return hashed.hexdigest()
