"""Changes of any file: its bytes, and what stands in its place. Each returns in a few words what it did."""

import os
import random
import socket
from collections.abc import Callable
from pathlib import Path

from benchmarks.attack.study import World, wipe

Change = Callable[[Path, random.Random, World], str]


def flip_a_bit(path: Path, rng: random.Random, world: World) -> str:
    content = bytearray(path.read_bytes())
    at = rng.randrange(len(content) * 8)
    content[at // 8] ^= 1 << at % 8
    path.write_bytes(content)
    return f"bit {at}"


def flip_bits(path: Path, rng: random.Random, world: World) -> str:
    content = bytearray(path.read_bytes())
    for _ in range(many := rng.randrange(2, 200)):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return f"{many} bits"


def truncate(path: Path, rng: random.Random, world: World) -> str:
    left = rng.randrange(path.stat().st_size)
    os.truncate(path, left)
    return f"{left} bytes left"


def empty(path: Path, rng: random.Random, world: World) -> str:
    os.truncate(path, 0)
    return ""


def garbage(path: Path, rng: random.Random, world: World) -> str:
    path.write_bytes(rng.randbytes(rng.choice([1, 100, path.stat().st_size])))
    return ""


def zeros(path: Path, rng: random.Random, world: World) -> str:
    content = bytearray(path.read_bytes())
    first = rng.randrange(len(content))
    count = min(rng.choice([1, 8, 64, 4096]), len(content) - first)
    content[first : first + count] = bytes(count)
    path.write_bytes(content)
    return f"{count} bytes from {first}"


def repeat_a_part(path: Path, rng: random.Random, world: World) -> str:
    content = path.read_bytes()
    first, last = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    path.write_bytes(content[:last] + content[first:])
    return f"bytes {first} to {last}"


def swap_parts(path: Path, rng: random.Random, world: World) -> str:
    content = path.read_bytes()
    a, b, c = sorted(rng.randrange(len(content) + 1) for _ in range(3))
    path.write_bytes(content[:a] + content[b:c] + content[a:b] + content[c:])
    return f"bytes {a} to {b}, and {b} to {c}"


def append(path: Path, rng: random.Random, world: World) -> str:
    with path.open("ab") as file:
        file.write(rng.choice([b"\0", b"\n", b"}", b"\xff\xfe", rng.randbytes(1000)]))
    return ""


def prefix(path: Path, rng: random.Random, world: World) -> str:
    head = rng.choice([b"\xef\xbb\xbf", b"\0", b"\xff\xfe", b"PAR1", b"\x80\x04", b"%YAML 9.9\n---\n", b"\x1b[2J"])
    path.write_bytes(head + path.read_bytes())
    return repr(head)


def other_coding(path: Path, rng: random.Random, world: World) -> str:
    coding = rng.choice(["utf-16", "utf-32", "utf-7"])
    path.write_bytes(path.read_bytes().decode("latin-1").encode(coding))
    return coding


def content_of_another(path: Path, rng: random.Random, world: World) -> str:
    files = sorted(one for one in world.study.rglob("*") if one.is_file() and not one.is_symlink() and one != path)
    other = rng.choice(files)
    path.write_bytes(other.read_bytes())
    return str(other.relative_to(world.box))


def file_of_another_cell(path: Path, rng: random.Random, world: World) -> str:
    """Take the file of the same name of another cell, where there is one."""
    below = path.relative_to(world.study)
    others = [world.study / key / Path(*below.parts[1:]) for key in world.keys if key != below.parts[0]]
    others = [one for one in others if len(below.parts) > 1 and one.is_file()] or [world.box / "thesis.tex"]
    other = rng.choice(others)
    path.write_bytes(other.read_bytes())
    return str(other.relative_to(world.box))


BYTES: tuple[Change, ...] = (
    flip_a_bit, flip_bits, truncate, empty, garbage, zeros, repeat_a_part, swap_parts, append, prefix, other_coding,
    content_of_another, file_of_another_cell,
)  # fmt: skip


def gone(path: Path, rng: random.Random, world: World) -> str:
    wipe(path)
    return ""


def fifo(path: Path, rng: random.Random, world: World) -> str:
    wipe(path)
    os.mkfifo(path)
    return ""


def unix_socket(path: Path, rng: random.Random, world: World) -> str:
    wipe(path)
    with socket.socket(socket.AF_UNIX) as one:
        here = os.open(path.parent, os.O_RDONLY)
        try:
            one.bind(f"/proc/self/fd/{here}/{path.name}")  # a socket's own path may be no longer than 108 bytes
        finally:
            os.close(here)
    return ""


def folder(path: Path, rng: random.Random, world: World) -> str:
    wipe(path)
    path.mkdir()
    if full := rng.random() < 0.5:
        (path / "inside").write_text("of a folder")
        (path / ".inside.123").write_text("of a folder")
    return "full" if full else "empty"


def file_in_place(path: Path, rng: random.Random, world: World) -> str:
    """Put a file in the place of a folder."""
    wipe(path)
    path.write_text("a file")
    return ""


def link_to_device(path: Path, rng: random.Random, world: World) -> str:
    wipe(path)
    path.symlink_to(device := rng.choice(["/dev/zero", "/dev/null", "/dev/full", "/dev/tty", "/proc/self/mem"]))
    return device


def link_outside(path: Path, rng: random.Random, world: World) -> str:
    is_folder = path.is_dir()
    wipe(path)
    names = ["outside", "multirun", "home", "outside/tickets"] if is_folder else ["thesis.tex", "model.safetensors"]
    target = world.box / rng.choice([*names, f"outside/{path.name}"])
    path.symlink_to(target if rng.random() < 0.5 else os.path.relpath(target, path.parent))
    return str(target.relative_to(world.box))


def link_to_itself_elsewhere(path: Path, rng: random.Random, world: World) -> str:
    """Move a file out of the study and leave a link to it: the numbers are right, the way to them is not."""
    moved = world.box / "outside" / f"moved-{path.name}"
    wipe(moved)
    os.replace(path, moved)
    path.symlink_to(moved)
    return ""


def link_to_nothing(path: Path, rng: random.Random, world: World) -> str:
    wipe(path)
    path.symlink_to(rng.choice([path.name, "nowhere", "../../../nowhere", str(world.box / "outside/new")]))
    return os.readlink(path)


def hard_link(path: Path, rng: random.Random, world: World) -> str:
    wipe(path)
    os.link(world.box / (name := rng.choice(["thesis.tex", "outside/model.safetensors"])), path)
    return name


def no_permission(path: Path, rng: random.Random, world: World) -> str:
    path.chmod(mode := rng.choice([0, 0o200, 0o444]))
    return oct(mode)


def sparse(path: Path, rng: random.Random, world: World) -> str:
    """Grow a file to far more bytes than it takes on the disk, with or without its own at the front."""
    if rng.random() < 0.5:
        os.truncate(path, 0)
    os.truncate(path, size := rng.choice([3 * 2**30, 100 * 2**30]))
    return f"{size / 2**30:.0f} GiB"


def other_time(path: Path, rng: random.Random, world: World) -> str:
    when = rng.choice([0, 1, 4_102_444_800, 2**33, -1, 1_000_000_000])
    os.utime(path, (when, when))
    return str(when)


PLACES: tuple[Change, ...] = (
    gone, fifo, unix_socket, folder, link_to_device, link_outside, link_to_itself_elsewhere, link_to_nothing, hard_link,
    no_permission, sparse, other_time,
)  # fmt: skip
FOLDERS: tuple[Change, ...] = (
    gone, fifo, file_in_place, link_to_device, link_outside, link_to_itself_elsewhere, link_to_nothing, no_permission,
    other_time,
)  # fmt: skip
