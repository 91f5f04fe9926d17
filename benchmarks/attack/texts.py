"""Changes of JSON and YAML that know their structure: other values, other names, and texts that do something."""

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from benchmarks.attack.damage import Change
from benchmarks.attack.study import World

DEPTH = 100_000


def _numbers(world: World) -> list[str]:
    return [
        "-1", "0", "1", "1e999", "NaN", "Infinity", "-Infinity", "1" + "0" * 400, "1" + "0" * 30, "9" * 5000, "0.5",
        "-0.0", str(2**63), str(2**64), "1e308", "true", "null",
    ]  # fmt: skip


def _texts(world: World) -> list[str]:
    written = [
        "", "x", "\x1b[2J\x1b]0;owned\x07", "\x1b[8mhidden", "[bold red]loud[/bold red]", "[/]", "[link=http://x]y",
        "[/nothing]", "\u202egnp.exe", "two\nlines\rand\0more\x7f", "A" * 1_000_000, "\u200b", "\x9b31m",
        "%s %d {0} {}",
        "=1+1", "<script>alert(1)</script>", "$(touch it-ran)", "`touch it-ran`", "'; --", "\U0001f600" * 1000,
    ]  # fmt: skip
    return [json.dumps(text) for text in written] + ['"\\ud800"', '"\\udfff\\ud800"']


def _paths(world: World) -> list[str]:
    box = world.box
    return [
        json.dumps(path)
        for path in (
            "../../thesis.tex", "../thesis.tex", "../../model", "../model", "../../../model", f"{box}/thesis.tex",
            f"{box}/model", f"{box}/multirun/model", f"{box}/home/model", "/dev/zero", ".", "..", "/", "~", "",
            "tickets/../../../../thesis.tex", f"{box}/model.safetensors", "../../outside", "a/b/c", "nul\0byte",
            "x" * 300,
        )
    ]  # fmt: skip


def _shapes(world: World) -> list[str]:
    return [
        "[]", "{}", "[[[]]]", '{"a": {"b": [1, null]}}', "[1, 2, 3]", "[null]", '["a"]', "[" * DEPTH + "]" * DEPTH,
        '{"a":' * DEPTH + "1" + "}" * DEPTH, "[" + "0," * 300_000 + "0]", '{"": ""}', '[{"level": 1}]',
    ]  # fmt: skip


KINDS = (_numbers, _texts, _paths, _shapes)


def raw(rng: random.Random, world: World) -> str:
    """Return any value as JSON writes it."""
    return rng.choice(rng.choice(KINDS)(world))


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value inside a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield (*path, name)
        yield from _places(inner, (*path, name))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for name in path:
        value = value[name]
    return value


class _Marked:
    """A document with marks in the place of values that no library would write."""

    def __init__(self, document: Any) -> None:
        self.document, self.marks = document, {}

    def mark(self, text: str) -> str:
        name = f"@@{len(self.marks)}@@"
        self.marks[name] = text
        return name

    def change(self, rng: random.Random, world: World) -> str:
        """Change one place; say which, and how."""
        places = list(_places(self.document))
        path = rng.choice(places)
        parent, name = _at(self.document, path[:-1]), path[-1]
        where = ".".join(map(str, path))
        how = rng.randrange(6)
        if how == 0:
            del parent[name]
            return f"without {where}"
        if how == 1:
            other = _at(self.document, rng.choice(places))
            parent[name] = json.loads(json.dumps(other, default=str))
            return f"{where} is another's"
        if how == 2 and isinstance(parent, dict):
            text = rng.choice([*_paths(world), *_texts(world)])
            parent[self.mark(text)] = parent.pop(name)
            return f"{where} is called {text[:40]}"
        text = raw(rng, world)
        parent[name] = self.mark(text)
        return f"{where} is {text[:40]}"

    def text(self, written: str) -> str:
        for name, text in self.marks.items():
            written = written.replace(json.dumps(name), text).replace(f"'{name}'", text).replace(name, text)
        return written


def json_values(path: Path, rng: random.Random, world: World) -> str:
    """Change one to three values or names."""
    marked = _Marked(json.loads(path.read_bytes()))
    said = [marked.change(rng, world) for _ in range(rng.choice([1, 1, 1, 2, 3])) if list(_places(marked.document))]
    path.write_text(marked.text(json.dumps(marked.document, indent=1)), encoding="utf-8")
    return "; ".join(said)


def json_whole(path: Path, rng: random.Random, world: World) -> str:
    """Write another document altogether."""
    path.write_text(text := raw(rng, world), encoding="utf-8")
    return text[:40]


def json_twice(path: Path, rng: random.Random, world: World) -> str:
    """Write one name twice."""
    document = json.loads(path.read_bytes())
    name = rng.choice(list(document))
    path.write_text(json.dumps(document)[:-1] + f", {json.dumps(name)}: {raw(rng, world)}}}", encoding="utf-8")
    return name


_FIELDS = {
    "status": ['"done"', '"running"', '"pending"', '"failed"', '"diverged"', '"DONE"', '"\\u001b[2J"', "1", "null"],
    "level": ["-1", "-2", "0", "1", "2", "3", "99", "1" + "0" * 30, "1" + "0" * 400, "1.0", "true", '"2"', "null"],
    "levels": ["-1", "0", "1" + "0" * 30, '"2"', "null", "[]"],
    "schema": ["0", "2", "true", "1.0", '"1"', "null", "-1", "1" + "0" * 400],
    "error": ['"\\u001b[2Jgone"', '"[/]"', '"[bold]x"', '"a\\nb\\n\\n"', "[1]", "{}", "1", '"\\ud800"'],
    "seconds": ["NaN", "1e999", "-1", '"x"', "null", "[]", "1" + "0" * 400],
    "measured": ['"weights"', "null", "[null]", "[[]]", "{}", "[1]"],
    "key": ['"0000000000000000"', "null", "1"],
    "started": ['"never"', "null", "1"],
    "files": ["null", "[]", "{}", '"x"', '{"": []}', '{"config.yaml": null}', '{"config.yaml": [1]}'],
}


def status_fields(path: Path, rng: random.Random, world: World) -> str:
    """Change a field that the program relies on."""
    marked = _Marked(json.loads(path.read_bytes()))
    name = rng.choice(list(_FIELDS))
    marked.document[name] = marked.mark(text := rng.choice(_FIELDS[name]))
    path.write_text(marked.text(json.dumps(marked.document, indent=1)), encoding="utf-8")
    return f"{name} is {text[:40]}"


def status_leads_outside(path: Path, rng: random.Random, world: World) -> str:
    """Name a file outside the study, as one of the cell's files, with its true hash or a wrong one, or as its stack."""
    document = json.loads(path.read_bytes())
    document["status"] = rng.choice([document["status"], "running", "pending", "failed", "done"])
    said = f"{document['status']}; "
    bait = rng.choice(["thesis.tex", "multirun/thesis.tex", "outside/model.safetensors", "home/model.safetensors"])
    outside = world.box / bait
    name = rng.choice([str(outside), f"../../../{bait}", f"tickets/../../../../{bait}", f"./../../../{bait}"])
    if rng.random() < 0.5:
        facts, content = outside.stat(), outside.read_bytes()
        right = rng.random() < 0.5
        digest = hashlib.sha256(content if right else b"").hexdigest()
        document["files"][name] = [facts.st_size, facts.st_mtime_ns if right else 1, digest]
        said += f"files has {name}"
    else:
        other = rng.choice(
            [str(world.box / "model"), "../../model", "../model", "../../../home/model", "../other/model"]
        )
        document["stack"] = other
        document["level"] = rng.choice([document["level"], -1, 0])
        said += f"stack is {other}"
    path.write_text(json.dumps(document, indent=1))
    return said


def status_of_another_stack(path: Path, rng: random.Random, world: World) -> str:
    """Say that the cell belongs to the stack that was stopped, and is not finished."""
    document = json.loads(path.read_bytes())
    document |= {"stack": world.stack, "status": "running", "level": rng.choice([-1, 0, 1])}
    path.write_text(json.dumps(document, indent=1))
    return f"level {document['level']}"


JSON: tuple[Change, ...] = (json_values, json_values, json_values, json_whole, json_twice)
STATUS: tuple[Change, ...] = (status_fields, status_fields, status_leads_outside, status_leads_outside,
                              status_of_another_stack)  # fmt: skip


def yaml_values(path: Path, rng: random.Random, world: World) -> str:
    """Change one to three values or names."""
    marked = _Marked(yaml.safe_load(path.read_bytes()))
    said = [marked.change(rng, world) for _ in range(rng.choice([1, 1, 1, 2, 3])) if list(_places(marked.document))]
    path.write_text(marked.text(yaml.safe_dump(marked.document, sort_keys=False, width=10**6)), encoding="utf-8")
    return "; ".join(said)


def _yaml_only(world: World) -> list[str]:
    run = f"touch {world.trace}"
    return [
        ".nan", "-.inf", "2001-01-01", "2001-01-01T00:00:00Z", "!!binary aGVsbG8=", "!!set {a, b}", "!!omap [a: 1]",
        f"!!python/object/apply:os.system ['{run}']", f"!!python/object/new:os.system ['{run}']",
        f"!!python/object/apply:subprocess.check_output [['touch', '{world.trace}']]", "!!python/name:os.system",
        "!!python/module:os", f"{{_target_: os.system, command: '{run}'}}",
        f"{{_target_: os.system, _args_: ['{run}']}}",
        f"{{_target_: builtins.exec, _args_: ['open(\"{world.trace}\", \"w\")']}}", "&a {x: *a}", "&a [*a, *a]",
        "{<<: {seed: 9}}", "{? [1, 2] : 3}", "{1: 2, null: 3, true: 4}", "1_000", "0x10", "1:30:00",
        "*nowhere", "!local x",
        "${oc.env:HOME}", "${seed}", "???", "~", "yes", "|\n  text", "!!int 'x'", "!!float []", "!!str {}",
    ]  # fmt: skip


def yaml_specials(path: Path, rng: random.Random, world: World) -> str:
    """Put a value that only YAML has in the place of a value, or of the whole document."""
    marked = _Marked(yaml.safe_load(path.read_bytes()))
    text = rng.choice(_yaml_only(world))
    if rng.random() < 0.2:
        path.write_text(text + "\n")
        return text
    path_in = rng.choice(list(_places(marked.document)))
    _at(marked.document, path_in[:-1])[path_in[-1]] = marked.mark(text)
    path.write_text(marked.text(yaml.safe_dump(marked.document, sort_keys=False, width=10**6)))
    return f"{'.'.join(map(str, path_in))} is {text[:60]}"


def yaml_bomb(path: Path, rng: random.Random, world: World) -> str:
    """Add anchors that name each other: some lines that stand for 10 ** 9 values, or much depth."""
    kind = rng.randrange(5)
    name = rng.choice(["bomb", "init", "seed", "where", "levels", "model"])
    if kind == 0:
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
        text = "\n".join([*lines, f"{name}: *a9"])
    elif kind == 1:
        lines = ["a0: &a0 {x: 1, y: 2}"]
        lines += [f"a{i}: &a{i} {{{', '.join(f'k{j}: *a{i - 1}' for j in range(10))}}}" for i in range(1, 10)]
        text = "\n".join([*lines, f"{name}: *a9"])
    elif kind == 2:
        text = f"{name}: " + "[" * DEPTH + "]" * DEPTH
    elif kind == 3:
        text = f"{name}: " + "{a: " * DEPTH + "1" + "}" * DEPTH
    else:
        lines = ["a0: &a0 {x: 1}"]
        lines += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 9)]
        text = "\n".join([*lines, f"{name}: *a8"])
    path.write_text(path.read_text() + text + "\n")
    return ("lists", "mappings", "deep lists", "deep mappings", "merged mappings")[kind] + f" as {name}"


YAML: tuple[Change, ...] = (yaml_values, yaml_values, yaml_specials, yaml_specials, yaml_bomb)


def seal(status: Path) -> bool:
    """Write the SHA-256 of a status.json's own text into it, as an attacker would; return whether that can be done."""
    try:
        document = json.loads(status.read_bytes())
        document.pop("sha256", None)
        text = json.dumps(document, indent=1)
        document["sha256"] = hashlib.sha256(text.encode()).hexdigest()
        status.write_text(json.dumps(document, indent=1) + "\n")
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return False
    return True


def seal_file(cell: Path, name: str) -> bool:
    """Write size, time of change and SHA-256 of a cell's file into its status; return whether that can be done."""
    path, status = cell / name, cell / "status.json"
    if path.is_symlink() or not path.is_file() or (facts := path.stat()).st_size > 2**28:
        return False
    try:
        document = json.loads(status.read_bytes())
        noted = [facts.st_size, facts.st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()]
        document["files"][name] = noted
        status.write_text(json.dumps(document, indent=1))
    except (OSError, ValueError):
        return False
    return seal(status)
