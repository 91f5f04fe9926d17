"""Readers in processes of their own: with limits, in a box of their own, and watched from outside."""

import contextlib
import ctypes
import hashlib
import os
import resource
import shutil
import signal
import stat
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path

from benchmarks.attack import mutants, readers
from benchmarks.attack.oracles import judge
from benchmarks.attack.readers import READERS, Seen
from benchmarks.attack.study import CLAIM, STUDY, Copies, World, surroundings, wipe

# Bytes of address space that a reader may take beyond those of the idle process.
MEMORY = 2 * 2**30
# Seconds after which a reader hangs: on a busy machine the slowest takes a third of them.
HANG = {"report": 90.0, "command": 90.0, "figures": 60.0}
_HANG = 30.0
# Mutants of one child: it is forked anew then, so that nothing of one can add up.
_BATCH = 200
# Capabilities by which root reads and writes what its owner may not: CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH.
_CAPABILITIES = 0b110
# Bytes of a file that the look around the study reads.
_READ = 100_000


@dataclass(frozen=True)
class Reading:
    """What one reader made of one mutant. said: the mutant in words."""

    number: int
    target: str
    change: str
    reader: str
    outcome: str
    detail: str
    said: str
    seconds: float


def snapshot(box: Path) -> dict[str, tuple[object, ...]]:
    """Return what lies in the box outside the study: path -> kind, rights, size, time of change and content."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, names, files in os.walk(box):
        here = Path(folder)
        if here == box / Path(STUDY).parent:
            names[:] = [name for name in names if name != Path(STUDY).name]
        names[:] = [name for name in names if (here / name) != box / "many"]
        for path in [here / name for name in (*names, *files)]:
            facts = path.lstat()
            content = ""
            if stat.S_ISLNK(facts.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(facts.st_mode) and facts.st_size < _READ and os.access(path, os.R_OK):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            times = facts.st_mtime_ns if not stat.S_ISDIR(facts.st_mode) else 0
            found[str(path.relative_to(box))] = facts.st_mode, facts.st_size, times, content
    return found


def box_of_its_own(world: World, box: Path) -> World:
    """Make a box like the first one, in which one child at a time works."""
    box.mkdir()
    surroundings(box)
    if world.box != box:
        (box / "many").symlink_to(world.box / "many")
    return World(box, world.keys, world.stopped, world.stack)


def truth_of(world: World, copies: Copies) -> dict[str, Seen]:
    """Return what each reader shows of the untouched study. Raises SystemExit where one of them fails on that."""
    here, there = Pipe(duplex=False)
    child = os.fork()
    if not child:
        _settle(world, limited=False)
        found = {}
        for name, read in READERS.items():
            copies.put(world.box)
            readers.slurm_answers(world, "bin" if name == "status" else "no-bin")
            found[name] = read(world)
        there.send(found)
        os._exit(0)
    there.close()
    try:
        truth: dict[str, Seen] = here.recv()
    except EOFError:
        raise SystemExit("the readers fail on the untouched study") from None
    finally:
        here.close()
        os.waitpid(child, 0)
    for name, seen in truth.items():
        showing = name not in ("figures", "report", "resubmit")
        # There is no queue to submit to, so that one is refused.
        if seen.trace or (showing and not seen.cells) or (name != "resubmit" and (seen.code or seen.err)):
            raise SystemExit(f"{name} fails on the untouched study: {seen.code} {seen.err} {seen.trace}")
    return truth


def _settle(world: World, limited: bool = True) -> None:
    """Make this process a child that reads mutants."""
    os.setsid()
    os.chdir(world.box)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    readers.quiet_environment(world)
    readers.no_waiting()
    readers.without_repetition()
    if limited:
        _give_up_capabilities()
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _give_up_capabilities() -> None:
    """Let rights of files hold for root too."""
    if os.getuid():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    held = (ctypes.c_uint32 * 6)()
    if libc.capget(header, held):
        raise OSError(ctypes.get_errno(), "capget")
    for i in (0, 1, 2):  # effective, permitted, inheritable, of the first 32
        held[i] &= ~_CAPABILITIES
    if libc.capset(header, held):
        raise OSError(ctypes.get_errno(), "capset")


def _child(
    world: World, copies: Copies, truth: dict[str, Seen], work: Sequence[tuple[int, int]], seed: int, up: Connection,
    broken: Callable[[], None] | None,
) -> None:  # fmt: skip
    """Read mutants, each (number, index of the first reader), and send what became of them."""
    _settle(world)
    if broken:
        broken()
    pristine = snapshot(world.box)
    for number, first in work:
        index, count = first, first + 1
        while index < count:
            try:
                if snapshot(world.box) != pristine:
                    _put_around(world)
                    pristine = snapshot(world.box)
                copies.put(world.box)
                pristine |= {CLAIM: snapshot(world.box)[CLAIM]}
                mutant = mutants.make(world, number, seed)
                before = snapshot(world.box)
            except BaseException:
                up.send(Reading(number, "", "", "", "harness", traceback.format_exc(), f"#{number}", 0.0))
                break
            count, name = len(mutant.readers), mutant.readers[index]
            asks = name == "status" and (number % 2 == 0 or mutant.target != "ledger")
            readers.slurm_answers(world, "bin" if asks else "no-bin")
            up.send((number, index, name, mutant))
            began = time.monotonic()
            try:
                seen = READERS[name](world)
            except Exception:
                up.send(Reading(number, mutant.target, mutant.change, name, "harness", traceback.format_exc(),
                                mutant.line, 0.0))  # fmt: skip
                break
            took = time.monotonic() - began
            after = snapshot(world.box)
            differ = sorted(dict.fromkeys(one for one, _ in before.items() ^ after.items()))
            try:
                outcome, detail = judge(world, name, mutant, seen, truth, ", ".join(differ))
            except Exception:
                outcome, detail = "harness", traceback.format_exc()
            told = detail if outcome in ("traceback", "memory", "harness") else detail[:600]
            up.send(Reading(number, mutant.target, mutant.change, name, outcome, told, mutant.line, took))
            index += 1
    up.send(None)
    os._exit(0)


def _put_around(world: World) -> None:
    for path in world.box.iterdir():
        if path.name not in ("many", Path(STUDY).parts[0]):
            wipe(path)
    for path in (world.study.parent).iterdir():
        if path != world.study:
            wipe(path)
    surroundings(world.box)


class _Running:
    """One child, and what it is at."""

    def __init__(self, box: World, work: list[tuple[int, int]]) -> None:
        self.box, self.work = box, work
        self.at: tuple[int, int, str, mutants.Mutant] | None = None
        self.since = time.monotonic()
        self.pid = 0
        self.up: Connection

    def start(self, *given: object) -> None:
        self.up, there = Pipe(duplex=False)
        self.since, self.at = time.monotonic(), None
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            try:
                copies, truth, seed, broken = given
                _child(self.box, copies, truth, self.work, seed, there, broken)  # type: ignore[arg-type]
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        there.close()

    def end(self) -> int:
        """End the child and all that it started; return how it ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.up.close()
        return code

    def left(self) -> float:
        """Return the seconds until the present reader hangs; the first one of a child takes longer."""
        limit = HANG.get(self.at[2], _HANG) if self.at else 60.0
        return self.since + limit - time.monotonic()


def attack(
    world: World,
    copies: Copies,
    truth: dict[str, Seen],
    numbers: Sequence[int],
    seed: int,
    processes: int = 1,
    broken: Callable[[], None] | None = None,
) -> Iterator[Reading]:
    """Yield every reading of these mutants. broken: makes a reader do wrong, to see whether that is seen."""
    batches = [[(number, 0) for number in numbers[i : i + _BATCH]] for i in range(0, len(numbers), _BATCH)]
    boxes = [box_of_its_own(world, world.box.parent / f"box-{i}") for i in range(processes)]
    running: list[_Running] = []
    given = (copies, truth, seed, broken)
    try:
        while batches or running:
            while batches and len(running) < processes:
                box = next(box for box in boxes if box not in [one.box for one in running])
                running.append(_Running(box, batches.pop(0)))
                running[-1].start(*given)
            ready = wait([one.up for one in running], max(0.01, min(one.left() for one in running)))
            for one in list(running):
                if one.up in ready:
                    yield from _heard(one, running, batches)
                elif one.left() <= 0:
                    yield from _stopped(one, "hang", running, batches)
    finally:
        for one in running:
            one.end()
        for box in boxes:
            wipe(box.study)
            shutil.rmtree(box.box, ignore_errors=True)


def _heard(one: _Running, running: list[_Running], batches: list[list[tuple[int, int]]]) -> Iterator[Reading]:
    try:
        message = one.up.recv()
    except (EOFError, OSError):
        yield from _stopped(one, "died", running, batches)
        return
    if message is None:
        one.end()
        running.remove(one)
    elif isinstance(message, Reading):
        one.since, one.at = time.monotonic(), None
        one.work = [(n, i) for n, i in one.work if n != message.number or message.outcome != "harness"]
        yield message
    else:
        one.at, one.since = message, time.monotonic()


def _stopped(
    one: _Running, outcome: str, running: list[_Running], batches: list[list[tuple[int, int]]]
) -> Iterator[Reading]:
    """Report a reader that had to be killed or died, and let another child go on with what is left."""
    code = one.end()
    running.remove(one)
    if one.at is None:
        raise SystemExit(f"a child of the campaign ended between two readers, with {code}")
    number, index, name, mutant = one.at
    yield Reading(
        number, mutant.target, mutant.change, name, outcome, f"exit code {code}", mutant.line,
        time.monotonic() - one.since,
    )  # fmt: skip
    at = [n for n, _ in one.work].index(number)
    rest = [(number, index + 1)] * (index + 1 < len(mutant.readers)) + one.work[at + 1 :]
    if rest:
        batches.insert(0, rest)
