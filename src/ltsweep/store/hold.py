"""One process holds a study, or cells of it: no other writes there until it lets go or dies.

A lock on the file .lock decides on one machine, and wherever a file system carries locks between machines; the kernel
frees it when its owner dies. Where locks do not reach other machines, the file .owner decides: its owner renews the
file's time of change, and a process that finds it old may take over.
"""

import contextlib
import errno
import itertools
import json
import os
import platform
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from filelock import FileLock, Timeout
from msgspec import Meta

from ltsweep.errors import BrokenFileError, UserError
from ltsweep.schema import KEY
from ltsweep.store import disk, reader
from ltsweep.words import shown

# The file that names the owner of a folder.
CLAIM = ".owner"

# Seconds between two renewals of .owner.
_BEAT = 4.0
# Seconds without a renewal after which another machine may take over: five renewals, since network disks are slow.
_EXPIRES = 20.0
# Seconds for which an owner that was last heard of in the future is watched: two renewals and a little more.
_WATCHED = 8.5
# Seconds to wait after two machines may have taken over at once, until both see the same .owner.
_SETTLE = 2.0
# Seconds to wait for a new lock holder to write its name.
_NAMED = 2.0
# Seconds between two looks at an .owner that is waited for.
_LOOK = 0.5


@dataclass(frozen=True)
class Owner:
    """The content of .owner.

    boot: the machine since its last start. token: tells the owner's holds from all others. renewed: the file whose
    time of change the owner renews, relative to the folder that is held.
    """

    name: reader.Name
    pid: Annotated[int, Meta(ge=1, le=2**31)]
    boot: reader.Name
    token: reader.Name
    renewed: Annotated[str, Meta(pattern=rf"\A(\.\./{KEY}/)?\.owner\Z")]


@contextlib.contextmanager
def hold(*folders: Path, wait: float = 0.0, patient: bool = True) -> Iterator[None]:
    """Hold folders, a study or cells of it, while the block runs; wait up to `wait` seconds for them.

    patient: where an owner was last heard of in the future, by the file system's clock, watch for its next renewal.
    Raises UserError if a folder cannot be written, or another process holds it.
    """
    token, until = secrets.token_hex(8), time.monotonic() + wait
    with contextlib.ExitStack() as held:
        taking = [held.enter_context(_held(folder, folders[0], token, until, patient)) for folder in folders]
        contested = list(itertools.compress(folders, taking))
        if contested:
            time.sleep(_SETTLE)
        for folder in contested:
            if not _is_owner(folder, token):
                raise UserError(f"{folder} was taken by another machine just now; wait for it, or take study=NAME")
        if folders:
            held.enter_context(_renewed(folders, token))
        yield


@contextlib.contextmanager
def _held(folder: Path, first: Path, token: str, until: float, patient: bool) -> Iterator[bool]:
    """Hold one folder; yield whether another machine may be taking it at the same moment."""
    disk.check_folders(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=max(0.0, until - time.monotonic()))
        lock.acquire()
    except Timeout as error:
        raise UserError(
            f"{folder} is being computed by {_holder(folder)}; wait for it, or take another study=NAME"
        ) from error
    except OSError as error:
        raise _refused(folder, error) from error
    try:
        renewed = os.path.relpath(first / ".owner", folder)
        mine = Owner(f"process {os.getpid()} on {platform.node()}", os.getpid(), _boot(), token, renewed)
        try:
            contested = _take(folder, mine, until, patient)
        except OSError as error:
            raise _refused(folder, error) from error
        try:
            yield contested
        finally:
            with contextlib.suppress(OSError):  # on a disk that takes nothing any more it stays, and grows old
                if _is_owner(folder, token):
                    (folder / ".owner").unlink()
    finally:
        lock.release()


def _take(folder: Path, mine: Owner, until: float, patient: bool) -> bool:
    """Write our name into .owner, after waiting for an owner on another machine; return whether others may do so too.

    The caller holds the folder's lock, so no other process of this machine does.
    """
    text = json.dumps(mine.__dict__).encode()
    seen: list[tuple[float, float]] = []  # times of renewal, each with when it was first seen
    while True:
        other = _owner(folder)
        if other is None and _link(folder, text):
            return False
        other = other or _owner(folder)
        silent = _EXPIRES if other is None or other.boot == mine.boot else _silent(folder, other, seen)
        # A time in the future tells nothing of when it was written, and only one that moves is a sign of life.
        unclear = patient and len(seen) == 1 and seen[0][0] > _clock(folder)
        if other is None or silent >= (_WATCHED if unclear else _EXPIRES) or other.boot == mine.boot:
            disk.write(folder / ".owner", text)
            return other is None or other.boot != mine.boot
        if not unclear and time.monotonic() >= until:
            raise UserError(
                f"{folder} is being computed by {shown(other.name)}, heard of {silent:.0f} s ago; wait for it, or take "
                f"another study=NAME (if it is dead, its hold ends {_EXPIRES:.0f} s after it was last heard of)"
            )
        time.sleep(_LOOK)


def _silent(folder: Path, owner: Owner, seen: list[tuple[float, float]]) -> float:
    """Return the seconds since an owner was last heard of, and note in `seen` when it was.

    A time of renewal in the future counts from when it was first seen.
    """
    try:
        renewed = (folder / owner.renewed).lstat().st_mtime
    except OSError:
        return _EXPIRES
    if not seen or seen[-1][0] != renewed:
        seen.append((renewed, time.monotonic()))
    age = _clock(folder) - renewed
    return age if age >= 0 else time.monotonic() - seen[-1][1]


def _link(folder: Path, text: bytes) -> bool:
    """Create .owner, which only one of several machines can; return whether it was this one."""
    aside = folder / f"..owner.{os.getpid()}"
    disk.write(aside, text)
    try:
        os.link(aside, folder / ".owner")
    except OSError:  # another was faster, or the file system has no links
        return False
    finally:
        aside.unlink(missing_ok=True)
    return True


@contextlib.contextmanager
def _renewed(folders: Sequence[Path], token: str) -> Iterator[None]:
    """Renew .owner while the block runs; if another process took over, end this one before it writes any more."""
    ended = threading.Event()

    def renew() -> None:
        last = time.time()
        while not ended.wait(_BEAT):
            now = time.time()
            # Only a process that was silent for so long, asleep for instance, can have been taken for dead.
            for folder in folders if now - last >= _EXPIRES else folders[:1]:
                other = _owner(folder)
                if other is not None and other.token != token:
                    _end(folder, other)
            with contextlib.suppress(OSError):
                os.utime(folders[0] / ".owner")
                last = now

    thread = threading.Thread(target=renew, name="hold", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _end(folder: Path, other: Owner) -> None:
    """End this process as a kill would; its workers end with it."""
    print(
        f"\nltsweep: {folder} was taken over by {shown(other.name)}; this command stops here",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


def _holder(folder: Path) -> str:
    """Return the name of the process that holds a folder's lock, once it has replaced the name of a dead one."""
    until = time.monotonic() + _NAMED
    while True:
        owner = _owner(folder)
        if owner is not None and (owner.boot != _boot() or _lives(owner.pid)):
            return shown(owner.name)
        if time.monotonic() >= until:
            return shown(owner.name) if owner else "another process"
        time.sleep(0.02)


def is_held(folder: Path) -> bool:
    """Return whether the process that a folder's .owner names may live, as far as a look tells. Nothing is written."""
    owner = _owner(folder)
    if owner is None or owner.boot == _boot():
        return owner is not None and _lives(owner.pid)
    try:
        return time.time() - (folder / owner.renewed).lstat().st_mtime < _EXPIRES
    except OSError:
        return False


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        pass
    return True


def _is_owner(folder: Path, token: str) -> bool:
    owner = _owner(folder)
    return owner is not None and owner.token == token


def _owner(folder: Path) -> Owner | None:
    """Return the owner that a folder's .owner names; None if the file is missing or cannot be read."""
    try:
        return reader.json_as(folder / ".owner", Owner, "the name of an owner")
    except (FileNotFoundError, BrokenFileError):
        return None


def _clock(folder: Path) -> float:
    """Return the time by the clock of the file system."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime


def _boot() -> str:
    """Return an identifier of this machine since its last start."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return platform.node()  # not Linux


def _refused(folder: Path, error: OSError) -> UserError:
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    full = cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    help_line = "make room for it" if full else "choose another folder with study=NAME"
    return UserError(f"{folder} cannot be written ({cause.strerror or cause}); {help_line}")
