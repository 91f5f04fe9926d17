"""The mutants by number: which file is changed, and how. Equal numbers and seeds give equal mutants."""

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.attack import damage, tensors, texts
from benchmarks.attack.damage import Change
from benchmarks.attack.study import CLAIM, Copies, World, wipe


@dataclass(frozen=True)
class Target:
    """A kind of file, where it lies, what is done to it, and who reads it.

    places: paths below the study, `{key}` for a cell's; readers: see readers.py.
    """

    name: str
    places: tuple[str, ...]
    changes: tuple[Change, ...]
    readers: tuple[str, ...]


# How often a reader is chosen, beside 1.
_OFTEN = {"status": 4, "sweeper": 1, "analysis": 0.8, "tensors": 8, "checkpoint": 8}

_ALL = ("status", "sweeper", "analysis")
# Beside them, now and then: target -> readers and how often.
_ALSO = {
    "status.json": (("forced", 0.1), ("resubmit", 0.05)),
    "config.yaml": (("resubmit", 0.05),),
    "ledger": (("resubmit", 0.25),),
    "folders": (("forced", 0.2),),
}

TARGETS = (
    Target("status.json", ("{key}/status.json",), texts.JSON + texts.STATUS, _ALL),
    Target("config.yaml", ("{key}/config.yaml",), texts.YAML, _ALL),
    Target("tables", ("{key}/evaluations.parquet", "{key}/levels.parquet", "{key}/readings.parquet"), tensors.PARQUET,
           ("sweeper", "analysis")),
    Target("tickets", ("{key}/tickets/init.safetensors", "{key}/tickets/level_01.safetensors"), tensors.SAFETENSORS,
           ("sweeper", "tensors", "analysis")),
    Target("checkpoint", (".stacks/{stack}.safetensors",), tensors.CHECKPOINT, ("sweeper", "checkpoint")),
    Target("ledger", (".submitit/*.json",), texts.JSON, ("status", "sweeper")),
    Target(".owner", (".owner",), texts.JSON, ("sweeper",)),
    Target("stamp", ("figures/.figures.json",), texts.JSON, ("analysis",)),
    Target("claim", (CLAIM,), texts.YAML, ("analysis",)),
    Target("cell.log", ("{key}/cell.log",), (), _ALL),
    Target("folders", ("{key}/tickets", ".stacks", ".submitit", "figures", "{key}"), (), _ALL),
)  # fmt: skip
# How many of a hundred mutants are of each target, in the order above.
_SHARES = (20, 16, 18, 12, 8, 6, 4, 5, 4, 2, 5)


@dataclass(frozen=True)
class Mutant:
    """One mutant. own: the key of the cell whose record it is part of; None for a file of the whole study.

    sealed: the checksums were changed with it, so what it says of its own cell is the attacker's word. kept_time: the
    file has its old time of change.
    """

    number: int
    target: str
    change: str
    path: str
    said: str
    own: str | None
    sealed: bool
    kept_time: bool
    readers: tuple[str, ...]

    @property
    def is_removed(self) -> bool:
        """Return whether the whole folder of the cell is gone: nobody can know that there was one."""
        return self.change == "gone" and self.path.endswith(str(self.own))

    @property
    def line(self) -> str:
        ways = ", sealed" * self.sealed + ", old time" * self.kept_time
        return f"#{self.number} {self.path}: {self.change}{ways} ({self.said})"


# Numbers of mutants that change nothing: read by the status alone, and by every reader that shows numbers.
UNTOUCHED, UNTOUCHED_BY_ALL = -1, -2


def make(world: World, number: int, seed: int) -> Mutant:
    """Change the untouched study into mutant `number`."""
    if number < 0:
        by = ("status",) if number == UNTOUCHED else (*_ALL, "forced", "tensors", "checkpoint", "command")
        return Mutant(number, "nothing", "nothing", "", "", None, False, False, by)
    rng = random.Random(f"{seed} {number}")
    target = rng.choices(TARGETS, _SHARES)[0]
    key = rng.choice(world.keys)
    path = _path(world, target, key, rng)
    own = next((part for part in path.parts if part in world.keys), None)
    if target.name in ("checkpoint", "folders") and own is None:
        own = world.stopped if target.name == "checkpoint" or path.name == ".stacks" else None
    change, stays_file = _change(target, path, rng)
    before = path.stat().st_mtime_ns
    said = change(path, rng, world)
    sealed = _sealed(path, own, target, rng) if stays_file else False
    sealed = sealed or change is tensors.sealed_checkpoint
    kept = (stays_file and not sealed and rng.random() < 0.25) or change is damage.no_permission
    if kept and stays_file:
        os.utime(path, ns=(before, before))
        wipe(world.study / "figures/.figures.json")  # which knows a file by its time
    where = str(path.relative_to(world.box))
    return Mutant(number, target.name, change.__name__, where, said, own, sealed, kept, _readers(target, rng))


def first_of_each_kind(world: World, copies: Copies, numbers: Sequence[int], seed: int) -> list[int]:
    """Return the numbers of the mutants whose change of a file, given to one of their readers, no earlier one has."""
    known: set[tuple[str, str, str]] = set()
    first = []
    for number in numbers:
        copies.put(world.box)
        mutant = make(world, number, seed)
        kinds = {(mutant.target, mutant.change, reader) for reader in mutant.readers}
        if kinds - known:
            first.append(number)
            known |= kinds
    copies.put(world.box)
    return first


def _path(world: World, target: Target, key: str, rng: random.Random) -> Path:
    place = rng.choice(target.places)
    if place == CLAIM:
        return world.box / place
    if place == ".submitit/*.json":
        return next((world.study / ".submitit").glob("*.json"))
    path = world.study / place.format(key=key, stack=world.stack)
    # A cell that diverged at once has no mask of a later level.
    return path if path.exists() else world.study / place.format(key=world.stopped, stack=world.stack)


def _change(target: Target, path: Path, rng: random.Random) -> tuple[Change, bool]:
    """Return a change for a file, and whether it leaves a file of other content."""
    if target.name == "folders":
        return rng.choice(damage.FOLDERS), False
    kinds: list[tuple[Sequence[Change], int]] = [(target.changes, 50 * bool(target.changes)), (damage.BYTES, 30)]
    kinds += [(damage.PLACES, 20)]
    (changes,) = rng.choices([changes for changes, _ in kinds], [share for _, share in kinds])
    return rng.choice(changes), changes is not damage.PLACES


def _sealed(path: Path, own: str | None, target: Target, rng: random.Random) -> bool:
    if own is None or rng.random() < 0.5:
        return False
    if target.name == "status.json":
        return texts.seal(path)
    if target.name in ("config.yaml", "tables", "tickets"):
        return texts.seal_file(path.parents[len(path.parts) - 1 - path.parts.index(own) - 1], _name(path, own))
    return False


def _name(path: Path, own: str) -> str:
    return "/".join(path.parts[path.parts.index(own) + 1 :])


def _readers(target: Target, rng: random.Random) -> tuple[str, ...]:
    """Return who reads this mutant: one reader, a cheap one more often, and now and then one of the dearest too."""
    chosen = rng.choices(target.readers, [_OFTEN.get(name, 1) for name in target.readers])
    more = rng.random()
    if "analysis" in target.readers and (more < 0.002 or (target.name == "claim" and more < 0.1)):
        chosen.append("report")
    elif "analysis" in target.readers and more < 0.005:
        chosen.append("figures")
    elif "sweeper" in target.readers and more > 0.995:
        chosen.append("command")
    # What the analysis draws or writes is what it loaded, which takes less time.
    loads = target.name in ("status.json", "config.yaml", "tables", "tickets") and rng.random() < 0.85
    chosen = ["loaded" if name == "analysis" and loads else name for name in chosen]
    return (*chosen, *(name for name, often in _ALSO.get(target.name, ()) if rng.random() < often))
