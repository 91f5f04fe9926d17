"""Whether a reader did well with a mutant: what it may show, say and touch, beside what it shows of the true study."""

import functools
import re
from collections.abc import Mapping
from typing import Any

from benchmarks.attack.mutants import Mutant
from benchmarks.attack.readers import Seen, codes_in
from benchmarks.attack.study import World

# What a reader may do with a mutant.
FINE = {
    "unchanged": "the numbers of the untouched study",
    "set aside": "the file was set aside, or its level is begun again, and the command said so",
    "listed": "the cell is shown as unreadable or failed with a reason, the others' numbers unchanged",
    "left out": "the tensors, or the checkpoint, are not shown at all",
    "refused": "one line, exit code 2",
    "as new": "the cell counts as not begun, without a word",
    "stated": "other numbers of the mutant's own cell, whose checksums were changed with it",
    "unread": "a finished cell's file with its old size and time of change, which the command does not read",
}
# What it may not.
FAILURES = {
    "ran code": "something in the mutant was run as a program",
    "touched outside": "a file outside the study was changed, made or removed",
    "traceback": "an exception that nobody caught, or that is printed",
    "hang": "no end after many seconds",
    "died": "the process ended by a signal",
    "memory": "more than 2 GB beyond what an idle reader takes",
    "other numbers": "a number is shown that the study does not hold, of a cell that is shown as good",
    "lost": "a cell is not shown, without a word",
    "terminal codes": "the output holds characters that a terminal acts on",
    "many lines": "a refusal that is not one line",
    "noise": "a reader that ends well writes on stderr",
    "exit code": "another exit code than 0, 1 (of the command) and 2",
    "harness": "the campaign itself failed",
}
_NO_MEMORY = re.compile(r"MemoryError|Unable to allocate|malloc of size|Cannot allocate memory|realloc of size")
_COMMANDS = ("sweeper", "forced", "command")


def judge(
    world: World, reader: str, mutant: Mutant, seen: Seen, truth: Mapping[str, Seen], touched: str
) -> tuple[str, str]:
    """Return the outcome, of FINE or FAILURES, and its details."""
    if world.trace.exists():
        return "ran code", ""
    if touched:
        return "touched outside", touched
    if seen.trace:
        return "memory" if _NO_MEMORY.search(seen.trace) else "traceback", seen.trace
    if "Traceback (most" in seen.err or "Traceback (most" in seen.out:
        return "traceback", seen.err + seen.out
    if _NO_MEMORY.search(seen.err + seen.out):
        return "memory", seen.err + seen.out
    if code := codes_in(seen.out + seen.err):
        return "terminal codes", code
    if seen.code not in (0, 2, *[1] * (reader in _COMMANDS)):
        return "exit code", str(seen.code)
    if seen.code and seen.err.strip().count("\n"):
        return "many lines", seen.err
    if seen.code == 2 and not seen.err.strip():
        return "many lines", "none at all"
    if not seen.code and seen.err:
        return "noise", seen.err
    if seen.code == 2:
        return _refused(reader, mutant, seen, truth)
    return _JUDGES[reader](mutant, seen, truth)


def _refused(reader: str, mutant: Mutant, seen: Seen, truth: Mapping[str, Seen]) -> tuple[str, str]:
    """Return `refused`, unless the command changed a finished cell that is not the mutant's all the same."""
    for key, true in truth[reader].cells.items() if reader == "sweeper" else ():
        if key != mutant.own and "starts at" not in true and seen.cells.get(key) != true:
            return "other numbers", f"refused, and changed {key}: {seen.cells.get(key)}"
    return "refused", seen.err.strip()


def _status(mutant: Mutant, seen: Seen, truth: Mapping[str, Seen]) -> tuple[str, str]:
    found = "unchanged", ""
    of_slurm = ".submitit" in mutant.path
    for key, true in truth["status"].cells.items():
        if (shown := seen.cells.get(key)) is None:
            if key == mutant.own and mutant.is_removed:
                found = "as new", ""
                continue
            return "lost", key
        said = seen.said[key]
        if of_slurm:  # it says which task has a cell, and so that a task is gone
            shown, true = shown | {"task": None}, true | {"task": None}
        same = said == truth["status"].said[key]
        if shown == true and (same or (key == mutant.own and mutant.sealed)):
            continue
        is_bad = shown.get("status") in ("unreadable", "failed") and said
        if of_slurm and is_bad and true["status"] == "running":
            found = "listed", said
        elif key != mutant.own:
            return "other numbers", f"{key}: {shown} {said}, not {true}"
        elif is_bad:
            found = "listed", said
        elif mutant.sealed:
            found = "stated", str(shown)
        elif shown.get("status") == "pending" and shown["level"] == -1 and mutant.target in ("status.json", "folders"):
            found = "as new", ""
        else:
            return "other numbers", f"{shown} {said}, not {true}"
    more = seen.cells.keys() - truth["status"].cells.keys()
    return ("other numbers", f"more cells: {more}") if more else found


def _analysis(mutant: Mutant, seen: Seen, truth: Mapping[str, Seen], reader: str = "analysis") -> tuple[str, str]:
    true = truth[reader]
    if wrong := _words(mutant, seen, true):
        return "other numbers", wrong
    found = "unchanged", ""
    for key, tables in true.cells.items():
        shown = seen.cells.get(key, {})
        differ = _difference(shown, tables)
        if not differ:
            continue
        if key != mutant.own:
            return "lost" if not shown else "other numbers", f"{key}: {differ}"
        if not shown and mutant.is_removed:
            found = "as new", ""
            continue
        said = seen.said.get(key, "")
        is_listed = bool(said) and said != true.said.get(key)
        if mutant.sealed:
            found = ("listed", said) if is_listed else ("stated", differ)
        elif is_listed and _is_part(shown, tables):
            found = "listed", said
        elif not shown:
            return "lost", f"{key}: {said}"
        else:
            return "other numbers", differ
    if more := seen.cells.keys() - true.cells.keys():
        return "other numbers", f"more cells: {more}"
    return found


def _words(mutant: Mutant, seen: Seen, true: Seen) -> str:
    """Return which other cell is spoken of in other words; of a file of no cell, nothing may be said otherwise."""
    if mutant.own is None and seen.said.get("study") != true.said["study"]:
        return f"{seen.said.get('study')!r}, not {true.said['study']!r}"
    for key in (seen.said.keys() | true.said.keys()) - {mutant.own, "study"}:
        # In between stand the values that set the cell apart from the others, which the mutant's may change.
        now, before = seen.said.get(key, "").split(), true.said.get(key, "").split()
        if now[:1] != before[:1] or now[-3:] != before[-3:]:
            return f"{key}: {' '.join(now)!r}, not {' '.join(before)!r}"
    return ""


def _difference(shown: Mapping[str, Any], tables: Mapping[str, Any]) -> str:
    """Return the first value of a cell's tables that is another; columns beside the true ones do not count."""
    for name, rows in tables.items():
        found = shown.get(name, [])
        if len(found) != len(rows):
            return f"{name}: {len(found)} rows, not {len(rows)}"
        for i, (row, true) in enumerate(zip(found, rows, strict=True)):
            for column, value in true.items():
                if row.get(column) != value:
                    return f"{name}, row {i}, {column}: {str(row.get(column))[:60]}, not {str(value)[:60]}"
    return next((f"{name}: {len(shown[name])} rows, not 0" for name in shown.keys() - tables.keys()), "")


def _is_part(shown: Mapping[str, Any], tables: Mapping[str, Any]) -> bool:
    return all(
        any(all(row.get(column) == value for column, value in true.items()) for true in tables.get(name, []))
        for name, rows in shown.items()
        for row in rows
    )


def _drawn(mutant: Mutant, seen: Seen, truth: Mapping[str, Seen]) -> tuple[str, str]:
    true = truth["analysis"]
    if wrong := _words(mutant, seen, true):
        return "other numbers", wrong
    said = seen.said.get(mutant.own or "", "")
    return ("listed", said) if said and said != true.said.get(mutant.own or "") else ("unchanged", "")


def _tensors(mutant: Mutant, seen: Seen, truth: Mapping[str, Seen]) -> tuple[str, str]:
    found = "unchanged", ""
    for key, true in truth["tensors"].cells.items():
        shown = seen.cells.get(key, {})
        if shown == true:
            continue
        if key != mutant.own:
            return "other numbers", f"{key}: {shown}"
        if shown.items() < true.items():
            found = "left out", ""
        elif mutant.sealed:
            found = "stated", ""
        else:
            return "other numbers", f"{dict(shown.items() - true.items())}"
    return found


def _checkpoint(mutant: Mutant, seen: Seen, truth: Mapping[str, Seen]) -> tuple[str, str]:
    (true,), (shown,) = truth["checkpoint"].cells.values(), seen.cells.values()
    if shown == true:
        return "unchanged", ""
    if shown["checkpoint"] is None:
        return "left out", ""
    return ("stated", "") if mutant.sealed else ("other numbers", str(shown))


def _sweeper(mutant: Mutant, seen: Seen, truth: Mapping[str, Seen]) -> tuple[str, str]:
    if seen.code == 1 and not any("starts at" in cell for cell in seen.cells.values()):
        return _refused("sweeper", mutant, seen, truth)  # something cannot be written, so nothing is begun
    found = "unchanged", ""
    said = seen.said.get(mutant.own or "", "")
    aside = next((line for line in (seen.out + said).splitlines() if _SET_ASIDE.search(line)), "")
    for key, true in truth["sweeper"].cells.items():
        now = seen.cells[key]
        if now == true:
            continue
        if key != mutant.own:
            return "other numbers", f"{key}: {now}, not {true}"
        if mutant.sealed:
            found = "stated", str(now)
        elif "starts at" in now:
            if wrong := _wrong_start(key, now, truth):
                return "other numbers", wrong
            found = "as new", str(now["starts at"])
        elif now["status"] == "failed":
            found = "listed", said
        elif mutant.kept_time:
            found = "unread", ""
        else:
            return "other numbers", f"{now}, not {true}"
    return ("set aside", aside) if aside and found[0] in ("unchanged", "as new") else found


def _forced(mutant: Mutant, seen: Seen, truth: Mapping[str, Seen]) -> tuple[str, str]:
    """Every cell begins at nothing, whatever its folder held; or the command cannot write, and nothing is changed."""
    if seen.code == 1 and not any("starts at" in cell for cell in seen.cells.values()):
        return "refused", seen.err.strip()
    for key, true in truth["forced"].cells.items():
        if seen.cells[key] != true:
            return "other numbers", f"{key}: {seen.cells[key]}, not {true}"
    return "unchanged", ""


def _resubmit(mutant: Mutant, seen: Seen, truth: Mapping[str, Seen]) -> tuple[str, str]:
    """Nothing can be submitted, and so nothing can be shown; that there was nothing to submit can be."""
    return "unchanged", ""


_SET_ASIDE = re.compile("set aside|computed again|begun again|cannot be gone on from|written anew")


def _wrong_start(key: str, now: Mapping[str, Any], truth: Mapping[str, Seen]) -> str:
    """Return what a cell goes on from that the true study does not hold."""
    tensors, true = truth["tensors"].cells[key], truth["sweeper"].cells[key]
    if other := now["tensors"].items() - tensors.items():
        return f"starts from other tensors: {dict(other)}"
    if now["checkpoint"] not in (None, true.get("checkpoint")):
        return f"starts from another checkpoint: {now}"
    return ""


def _command(mutant: Mutant, seen: Seen, truth: Mapping[str, Seen]) -> tuple[str, str]:
    for key, true in truth["command"].cells.items():
        now = seen.cells[key]
        if now == true:
            continue
        if key != mutant.own:
            return "other numbers", f"{key}: {now}, not {true}"
        if mutant.sealed:
            return "stated", str(now)
        if now["status"] == "failed":
            return "listed", seen.out
        if mutant.kept_time:
            return "unread", ""
        return "other numbers", f"{now}, not {true}"
    return ("set aside" if _SET_ASIDE.search(seen.out) else "unchanged"), ""


_JUDGES = {
    "status": _status, "analysis": _analysis, "loaded": functools.partial(_analysis, reader="loaded"),
    "figures": _drawn, "report": _drawn, "tensors": _tensors,
    "checkpoint": _checkpoint, "sweeper": _sweeper, "forced": _forced, "resubmit": _resubmit, "command": _command,
}  # fmt: skip
