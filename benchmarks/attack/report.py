"""What became of the mutants: counts by file, by change and by reader, and of each kind of failure the first."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

from benchmarks.attack.children import Reading
from benchmarks.attack.oracles import FAILURES, FINE

# Readings of a change that always leaves the numbers as they are, above which the change itself is in doubt.
_OFTEN = 30
# A file's time decides nothing but whether the writer that a stamp names is still at work.
_HARMLESS = frozenset({"other_time"})
# Characters that are shown of what a failure was.
_DETAIL = 3_000
_OURS = re.compile(r'File "[^"]*?/((?:src/ltsweep|multirun_analysis|src/hydra_plugins)/[^"]+)", line (\d+), in (\w+)')


def failed(readings: Iterable[Reading]) -> list[Reading]:
    """Return the readings that must not be."""
    return [one for one in readings if one.outcome in FAILURES]


def table(readings: Sequence[Reading]) -> list[str]:
    """Return all counts, as Markdown."""
    shown = [name for name in (*FINE, *FAILURES) if any(one.outcome == name for one in readings)]
    lines = []
    for title, of in (("file", "target"), ("reader", "reader"), ("change", "change")):
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for one in readings:
            counts[getattr(one, of)][one.outcome] += 1
        lines += [
            f"| {title} | {' | '.join(shown)} |",
            "|---" * (len(shown) + 1) + "|",
            *(
                f"| {name} | {' | '.join(f'{found[outcome]:,}' if found[outcome] else '' for outcome in shown)} |"
                for name, found in sorted(counts.items())
            ),
            "",
        ]
    lines += [f"- {name}: {(FINE | FAILURES)[name]}" for name in shown]
    return lines


def speeds(readings: Sequence[Reading]) -> list[str]:
    """Return the median and the slowest reading of each reader, as Markdown."""
    took: dict[str, list[float]] = defaultdict(list)
    for one in readings:
        took[one.reader].append(one.seconds)
    rows = [
        f"| {name} | {len(all_of):,} | {1000 * median(all_of):.0f} | {max(all_of):.1f} |"
        for name, all_of in sorted(took.items())
    ]
    return ["| reader | readings | milliseconds (median) | seconds (slowest) |", "|---|---|---|---|", *rows]


def kinds(readings: Sequence[Reading]) -> list[str]:
    """Return lines on each kind of failure, the most frequent first, with the first mutant that shows it and how."""
    found: dict[tuple[str, str, str], list[Reading]] = defaultdict(list)
    for one in failed(readings):
        found[one.outcome, one.reader, cause(one)].append(one)
    ordered = sorted(found.items(), key=lambda item: -len(item[1]))
    lines = []
    for (outcome, reader, why), ones in ordered:
        first = min(ones, key=lambda one: one.number)
        shown = " ".join(first.detail.split())[:_DETAIL]
        lines.append(f"{len(ones):6,} x {outcome}, {reader}: {why}\n           {first.said[:300]}\n           {shown}")
    return lines


def cause(one: Reading) -> str:
    """Return the line of the program, or the words, that tell one kind of failure from another."""
    if one.outcome in ("traceback", "memory", "harness"):
        places = _OURS.findall(one.detail)
        last = (one.detail.strip().splitlines() or [""])[-1]
        where = f"{places[-1][0]}:{places[-1][1]} {places[-1][2]}: " if places else ""
        return where + last.partition(":")[0][:120]
    if one.outcome in ("other numbers", "lost", "many lines", "noise", "terminal codes", "touched outside"):
        return f"{one.target}, {one.change}" + (f", {one.detail}" if one.outcome == "terminal codes" else "")
    return f"{one.target}, {one.change}"


def without_effect(readings: Sequence[Reading]) -> list[str]:
    """Return the changes that no reader ever noticed, though they were read often and are there to be noticed."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for one in readings:
        counts[one.change][one.outcome] += 1
    return sorted(
        name
        for name, found in counts.items()
        if set(found) == {"unchanged"} and found.total() >= _OFTEN and name not in _HARMLESS
    )
