"""What a user runs on a study: each returns how it ended, what it said, and the numbers that it showed."""

import contextlib
import csv
import functools
import hashlib
import importlib.metadata
import io
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.attack.study import ANALYSIS, CLAIM, GRIDS, STUDY, World, command, is_key, run

FIGURES = ("--figures", "accuracy_vs_remaining,init_densities,surviving_weights", "--style", "screen")
# Rows of a table above which its numbers are not compared: this would take the time that readers are held to.
_MOST_ROWS = 100_000
# Bytes of a log, from its end, in which a reader's words are looked for.
_LOG = 100_000
# Columns that say how long something took.
_TIMES = ("seconds",)


@dataclass
class Seen:
    """How a reader ended. cells: key -> what it showed of that cell; said: key -> its words on it; trace: of an
    exception that nobody caught."""

    code: int = 0
    out: str = ""
    err: str = ""
    trace: str = ""
    cells: dict[str, Any] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)


def heard(work: Callable[[], object]) -> Seen:
    """Run something as a command: its output as bytes of UTF-8, its exit code, and the exception that ended it."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=e) for e in ("strict", "backslashreplace"))
    seen = Seen()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            seen.code = int(work() or 0)
        except SystemExit as end:
            seen.code = int(end.code or 0) if isinstance(end.code, int | None) else 1
        except BaseException as error:
            seen.trace = "".join(traceback.format_exception(error))
    for stream, name in ((out, "out"), (err, "err")):
        stream.flush()
        stream.seek(0)
        setattr(seen, name, stream.read())
    return seen


def status(world: World) -> Seen:
    """Run `python -m ltsweep.status`, as a table and as JSON."""
    from ltsweep.cluster.standings import main

    plain = heard(lambda: main([STUDY]))
    seen = heard(lambda: main([STUDY, "--json"]))
    seen.trace = seen.trace or plain.trace
    seen.err += plain.err if plain.err != seen.err else ""
    seen.code = max(seen.code, plain.code)
    if not seen.trace and not seen.code:
        try:
            listed = json.loads(seen.out)["cells"]
        except ValueError as error:
            seen.trace = f"--json prints no JSON: {error}"
            return seen
        for cell in listed:
            seen.cells[cell["key"]] = {name: cell[name] for name in ("status", "level", "levels", "task")}
            seen.said[cell["key"]] = str(cell["error"] or "")
        # What the table shows of a cell is what JSON says of it.
        for key, cell in seen.cells.items():
            lines = [line.split() for line in plain.out.splitlines() if key in line.split()]
            if not any(cell["status"] in words for words in lines):
                seen.cells[key] = {"not in the table": key}
    seen.out += plain.out
    return seen


def analysis(world: World, *options: str) -> Seen:
    """Run `python -m multirun_analysis`, and read the tables that it exports."""
    from multirun_analysis.__main__ import main

    seen = heard(lambda: main([STUDY, *(options or ANALYSIS)]))
    if seen.trace or seen.code:
        return seen
    for key, words in _closing_table(seen.out):
        seen.said[key] = words
    first = seen.out.splitlines()[0].partition(": ")[2] if seen.out else ""
    seen.said["study"] = first
    if options:
        return seen
    for name in ("levels", "evaluations", "readings"):
        path = world.study / "figures" / f"{name}.csv"
        if not path.is_file():
            continue
        with path.open(newline="") as file:
            csv.field_size_limit(2**31)
            for row in csv.DictReader(file):
                key = row.pop("key")
                plain = {column: _plain(value) for column, value in row.items() if value != ""}
                seen.cells.setdefault(key, {}).setdefault(name, []).append(plain)
    return seen


def loaded(world: World) -> Seen:
    """Read the tidy tables and the closing table as the analysis does, which then draws or writes them."""
    from ltsweep.words import printable
    from multirun_analysis import closing
    from multirun_analysis.errors import AnalysisError
    from multirun_analysis.load import load

    found: dict[str, Any] = {}

    def read() -> int:
        try:
            study = load(Path(STUDY))
        except AnalysisError as error:
            print(printable(str(error)), file=sys.stderr)
            return 2
        print(f"{STUDY}: {printable(closing.table(study.cells))}")
        for name, table in (("levels", study.levels), ("evaluations", study.evaluations), ("readings", study.readings)):
            columns = [column for column in table if column != "key"]
            plain = [[_plain(str(value)) for value in table[column].tolist()] for column in columns]
            for key, *row in zip(table["key"], *plain, strict=True):
                found.setdefault(key, {}).setdefault(name, []).append(
                    {
                        column: value
                        for column, value in zip(columns, row, strict=True)
                        if value not in ("nan", "none", "")
                    }
                )
        return 0

    seen = heard(read)
    if not seen.trace and not seen.code:
        seen.cells = found
        seen.said = {**dict(_closing_table(seen.out)), "study": seen.out.splitlines()[0].partition(": ")[2]}
    return seen


def figures(world: World) -> Seen:
    """Draw figures, those of the tickets among them."""
    return analysis(world, *FIGURES)


def report(world: World) -> Seen:
    """Write the report, with a claim of the user's own."""
    seen = analysis(world, "--figures", "none", "--report", "--claims", CLAIM)
    page = world.study / "figures/report.html"
    if not seen.code and not seen.trace and not (page.is_file() and page.stat().st_size > 1000):
        seen.trace = "no report was written, and nothing said so"
    return seen


def tensors(world: World) -> Seen:
    """Read the initial weights and masks of each cell, as the figures do."""
    from ltsweep.errors import BrokenFileError
    from multirun_analysis.tickets import initial_weights, masks

    seen = Seen()

    def read() -> None:
        for key in world.keys:
            folder = world.study / key
            found: dict[str, Any] = {}
            with contextlib.suppress(BrokenFileError):
                found |= {f"init {name}": _digest(values) for name, values in initial_weights(folder).items()}
            for level in (1, 2):
                with contextlib.suppress(BrokenFileError):
                    found |= {f"{level} {name}": _digest(mask) for name, mask in masks(folder, level).items()}
            seen.cells[key] = found

    ended = heard(read)
    ended.cells = seen.cells
    return ended


def checkpoint(world: World) -> Seen:
    """Load the checkpoint of the stack that was stopped."""
    from ltsweep.errors import BrokenFileError, UserError
    from ltsweep.store.checkpoints import load_checkpoint

    found: dict[str, Any] = {}

    def load() -> int:
        try:
            loaded = load_checkpoint(world.study, world.stack)
        except (BrokenFileError, UserError) as error:
            print(error, file=sys.stderr)
            return 2
        found["checkpoint"] = _checkpoint_digest(*loaded) if loaded else None
        return 0

    seen = heard(load)
    seen.cells = {world.stopped: found} if not seen.code else {}
    return seen


def resubmit(world: World) -> Seen:
    """Run `python -m ltsweep.status --resubmit-failed` where Slurm has lost the task of the cell that was stopped."""
    from ltsweep.cluster.standings import main

    slurm_answers(world, "bin-gone")
    return heard(lambda: main([STUDY, "--resubmit-failed"]))


def forced(world: World) -> Seen:
    """Do all that the command does with force=true before it trains: forget everything."""
    return sweeper(world, force=True)


def sweeper(world: World, force: bool = False) -> Seen:
    """Do all that the command does before it trains: prepare, hold, take over, repair, read what it goes on from."""
    from ltsweep import command as ltsweep
    from ltsweep.cluster.local import compute
    from ltsweep.run import stack_run
    from ltsweep.run.prepare import prepare
    from ltsweep.run.settings import Settings

    starts: dict[str, Any] = {}

    def begin(job, program, members, records, begins, asked, inside) -> Iterator[Any]:  # noqa: ANN001
        for member, key in zip(members, records, strict=True):
            first = begins[key]
            if inside is not None and inside.level != first:
                inside = None  # the loop ignores it
            rows = {} if inside is None else {one: inside.tables[one].evaluations for one in inside.tables}
            facts = {} if inside is None else {"level": inside.level, "step": inside.step, "rows": rows}
            digest = None if inside is None else _checkpoint_digest(facts, inside.tensors)
            weights = {f"init {_layer(name)}": _digest(one) for name, one in member.initial.items() if one.ndim > 1}
            kept = (member.recorded(first) if first else None) or {}
            masks = {f"{first} {_layer(name)}": _digest(one > 0) for name, one in kept.items()}
            starts[key] = {"starts at": first, "tensors": weights | masks, "checkpoint": digest}
        return iter(())

    def look() -> int:
        settings = Settings(
            world.study, Path("data"), device="cpu", workers=1, stack_size=1, measure=_measure()
        )  # fmt: skip
        plan = prepare(_cells(), settings, again=force)
        compute(plan, force)
        return 0

    levels, task = stack_run._run_levels, ltsweep.task
    stack_run._run_levels, ltsweep.task = begin, look  # type: ignore[assignment]
    try:
        seen = heard(lambda: run(command(*GRIDS[0])))
    finally:
        stack_run._run_levels, ltsweep.task = levels, task
    if seen.trace:
        return seen
    for key in world.keys:
        seen.cells[key] = starts.get(key) or _record(world.study / key)
        log = world.study / key / "cell.log"
        with contextlib.suppress(PermissionError):
            if log.is_file() and not log.is_symlink():
                with log.open(errors="replace") as file:
                    file.seek(max(0, log.stat().st_size - _LOG))
                    seen.said[key] = file.read()
    return seen


def whole_command(world: World) -> Seen:
    """Run the real command to its end."""
    seens = [heard(lambda grid=grid: run(command(*grid))) for grid in GRIDS]
    seen = Seen(
        max(one.code for one in seens),
        "".join(one.out for one in seens),
        "".join(one.err for one in seens if one.code != 2) or seens[0].err or seens[1].err,
        "".join(one.trace for one in seens),
    )
    if seen.trace or seen.code == 2:
        return seen
    for key in world.keys:
        seen.cells[key] = _record(world.study / key)
    return seen


READERS: dict[str, Callable[[World], Seen]] = {
    "status": status, "analysis": analysis, "loaded": loaded, "figures": figures, "report": report, "tensors": tensors,
    "checkpoint": checkpoint, "sweeper": sweeper, "forced": forced, "resubmit": resubmit, "command": whole_command,
}  # fmt: skip


def _cells() -> list[Any]:
    """Return the cells of the study, composed once by this program's own means."""
    if not _COMPOSED:
        from hydra import compose, initialize_config_module

        from ltsweep.grid.cell import from_config
        from ltsweep.grid.overrides import numbered

        with initialize_config_module("ltsweep.conf", version_base="1.3"):
            for grid in GRIDS:
                seeds = [one for one in grid if one.startswith("seed=")]
                for seed in seeds[0].removeprefix("seed=").split(","):
                    arguments = [one for one in (*command(), *grid)[1:] if not one.startswith("seed=")]
                    config = compose("config", overrides=[numbered(one) for one in (*arguments, f"seed={seed}")])
                    _COMPOSED.append((from_config(config), config))
    return [cell for cell, _ in _COMPOSED]


def _measure() -> dict[str, Any]:
    from omegaconf import OmegaConf

    _cells()
    found = OmegaConf.to_container(_COMPOSED[0][1].measure, resolve=True)
    assert isinstance(found, dict)
    return {str(name): one for name, one in found.items()}


_COMPOSED: list[Any] = []


def _record(folder: Path) -> dict[str, Any]:
    """Return what a cell's folder holds: its status, hashes of its tickets, and of its tables but for times."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: dict[str, Any] = {}
    try:
        status = json.loads((folder / "status.json").read_bytes())
        found |= {"status": status.get("status"), "level": status.get("level")}
    except (OSError, ValueError, AttributeError, RecursionError):
        found["status"] = None
    for path in sorted(folder.glob("*.parquet")):
        try:
            file = pq.ParquetFile(pa.BufferReader(_regular(path)))
            if file.metadata.num_rows > _MOST_ROWS:
                raise OverflowError
            table = file.read(use_threads=False)
            table = table.drop_columns([name for name in _TIMES if name in table.schema.names])
            found[path.name] = hashlib.sha256(repr(table.to_pydict()).encode()).hexdigest()
        except Exception as error:
            found[path.name] = type(error).__name__
    if os.access(folder, os.X_OK) and (folder / "tickets").is_dir():
        found |= _tickets(folder / "tickets")
    return found


def _tickets(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            found[path.name] = hashlib.sha256(_regular(path)).hexdigest()
        except OSError as error:
            found[path.name] = type(error).__name__
    return found


def _regular(path: Path) -> bytes:
    """Return the bytes of a file that is one, and of a size to be read."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > 2**28:
        raise OSError(f"{path} is no such file")
    return path.read_bytes()


def _closing_table(out: str) -> Iterator[tuple[str, str]]:
    for line in out.splitlines():
        words = line.split()
        if line.startswith("  ") and words and is_key(words[0]):
            yield words[0], " ".join(words[1:])


@functools.lru_cache(maxsize=2**16)  # a row repeats the values of its cell's config
def _plain(value: str) -> object:
    """Return a value of a CSV file, so that 0 and 0.0 are equal: another cell's values decide a column's type."""
    try:
        return repr(float(value))
    except ValueError:
        return value.lower()


def _digest(values: Any) -> str:
    array = values.detach().cpu().numpy() if hasattr(values, "detach") else values
    return hashlib.sha256(f"{array.dtype} {array.shape}".encode() + array.tobytes()).hexdigest()[:16]


def _layer(name: str) -> str:
    return name.removesuffix(".weight")


def _checkpoint_digest(facts: Mapping[str, Any], held: Mapping[str, Any]) -> str:
    plain = {name: facts[name] for name in ("level", "step", "rows") if name in facts}
    text = json.dumps(plain, default=str) + "".join(f"{name} {_digest(one)}" for name, one in sorted(held.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def quiet_environment(world: World) -> None:
    """Let nothing outside the box decide what a reader does: its own home, no Slurm, no git."""
    os.environ |= {"HOME": str(world.box / "home"), "PATH": str(world.box / "no-bin"), "COLUMNS": "200"}
    for name in ("HYDRA_FULL_ERROR", "LTSWEEP_DATA", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        os.environ.pop(name, None)


def slurm_answers(world: World, where: str) -> None:
    """Let Slurm's commands be those of a folder of the box: `bin`, `bin-gone`, or none in `no-bin`."""
    os.environ["PATH"] = str(world.box / where)


def no_waiting() -> None:
    """Take the pauses out of the program that wait for slow disks of clusters, and for a cell that is being written."""
    from ltsweep.cluster import watch
    from ltsweep.store import hold
    from multirun_analysis import cell

    pauses = ((hold, "_SETTLE"), (hold, "_NAMED"), (watch, "_GRACE"), (watch, "_LEAVING"), (cell, "_PAUSE"))
    for module, name in pauses:
        if not hasattr(module, name):
            raise AttributeError(f"{module.__name__} has no {name} any more")
        setattr(module, name, 0.0)


def without_repetition() -> None:
    """Let what no file of a study decides be computed once a process: checks of configs, data, programs, versions."""
    from ltsweep.run import prepare, stack_run

    def once(module: Any, name: str, key: Callable[..., object]) -> None:
        work, known = getattr(module, name), {}

        def kept(*given: Any) -> Any:
            which = key(*given)
            if which not in known:
                known[which] = work(*given)
            return known[which]

        setattr(module, name, kept)

    def keys(cells: Any, *_: object) -> tuple[str, ...]:
        return tuple(cell.key for cell in cells)

    once(prepare, "check_configs", keys)
    once(prepare, "check_outputs", keys)
    once(prepare, "make_measurements", lambda chosen: str(chosen))
    once(prepare, "load_data", keys)
    once(prepare, "network_bytes", lambda cell, kind: cell.key)
    # After the problem, the device, the seconds between checkpoints and the measurements: what decides how far it goes.
    once(stack_run, "program_of", lambda cell, *how: (cell.key, str(how[4:])))
    once(importlib.metadata, "version", lambda name: name)


_TERMINAL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u202a-\u202e\u2066-\u2069]")


def codes_in(text: str) -> str:
    """Return the first character that a terminal would act on, as an escape; nothing if there is none."""
    found = _TERMINAL.search(text)
    return repr(found[0]) if found else ""
