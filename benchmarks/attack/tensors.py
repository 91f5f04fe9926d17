"""Changes of Parquet and safetensors that stay valid files: other values, columns, types, counts, shapes."""

import hashlib
import io
import json
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load, save

from benchmarks.attack.damage import Change
from benchmarks.attack.study import World
from benchmarks.attack.texts import raw

# Rows of a table that is small on the disk and large in memory.
MANY = 8_000_000


def _write(path: Path, table: pa.Table, **options: Any) -> None:
    sink = io.BytesIO()
    pq.write_table(table, sink, write_page_checksum=True, **options)
    path.write_bytes(sink.getvalue())


def _replaced(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.schema.names.index(name), name, values)


def other_values(path: Path, rng: random.Random, world: World) -> str:
    """Give a column other values of its own type, in one row or in all."""
    table = pq.read_table(path)
    name = rng.choice(table.schema.names)
    kind = table.schema.field(name).type
    if pa.types.is_integer(kind):
        new: Any = rng.choice([-1, 0, 1, 7, 2**62, -(2**63), None])
    elif pa.types.is_floating(kind):
        new = rng.choice([float("nan"), float("inf"), -1.0, 0.0, 0.123, 1e308, None])
    elif pa.types.is_list(kind):
        new = rng.choice([[], None, [None], [0] if pa.types.is_integer(kind.value_type) else ["\x1b[2J"]])
    else:
        new = rng.choice(["", "x", None, "\x1b[2Jgone", "[/]", "ticket", "../..", "a" * 100_000, "two\nlines"])
    values = table[name].to_pylist()
    at = rng.randrange(len(values)) if rng.random() < 0.5 else None
    values = [new if at in (None, i) else value for i, value in enumerate(values)]
    _write(path, _replaced(table, name, pa.array(values, kind)))
    return f"{name} is {str(new)[:20]!r} in {'all rows' if at is None else f'row {at}'}"


def other_columns(path: Path, rng: random.Random, world: World) -> str:
    """Drop, repeat, rename or add a column."""
    table = pq.read_table(path)
    name = rng.choice(table.schema.names)
    how = rng.choice(["without", "twice", "renamed", "one more", "one only", "reversed"])
    if how == "without":
        table = table.drop_columns([name])
    elif how == "twice":
        table = table.append_column(name, table[name])
    elif how == "renamed":
        table = table.rename_columns([f"{one}\x1b[2J" if one == name else one for one in table.schema.names])
    elif how == "one more":
        table = table.append_column(rng.choice(["key", "status", "seed", "remaining", "x"]), table[name])
    elif how == "one only":
        table = table.select([name])
    else:
        table = table.select(table.schema.names[::-1])
    _write(path, table)
    return f"{how}: {name}"


def other_types(path: Path, rng: random.Random, world: World) -> str:
    """Give a column another type, the values unchanged where they have a place in it."""
    table = pq.read_table(path)
    name = rng.choice(table.schema.names)
    kinds: list[pa.DataType] = [
        pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.int8(), pa.float16(), pa.decimal128(38, 10),
        pa.timestamp("ns"), pa.bool_(), pa.null(), pa.struct([("a", pa.int64())]), pa.binary(), pa.date32(),
        pa.list_(pa.list_(pa.int64())), pa.uint64(), pa.float32(),
    ]  # fmt: skip
    kind = rng.choice(kinds)
    values = table[name]
    try:
        values = values.cast(kind) if not pa.types.is_nested(kind) else pa.nulls(len(values), kind)
    except pa.ArrowException:
        values = pa.nulls(len(values), kind)
    _write(path, _replaced(table, name, values))
    return f"{name} is {kind}"


def other_rows(path: Path, rng: random.Random, world: World) -> str:
    """Drop, repeat or reorder rows."""
    table = pq.read_table(path)
    how = rng.choice(["none", "first", "last", "twice", "reversed", "half"])
    count = table.num_rows
    chosen = {
        "none": [], "first": [0], "last": [count - 1], "twice": [*range(count)] * 2, "reversed": [*range(count)][::-1],
        "half": [*range(count // 2)],
    }[how]  # fmt: skip
    _write(path, table.take(pa.array(chosen, pa.int64())))
    return how


def many_rows(path: Path, rng: random.Random, world: World) -> str:
    """Take a table that is small on the disk and larger than the memory: one row, again and again."""
    large = world.box / "many" / path.name
    path.write_bytes((large if large.exists() else large.with_name("evaluations.parquet")).read_bytes())
    return f"{MANY} rows in {path.stat().st_size} bytes"


def make_many_rows(world: World) -> None:
    """Write the tables that `many_rows` takes."""
    (world.box / "many").mkdir()
    for name in ("evaluations.parquet", "levels.parquet"):
        row = pq.read_table(world.study / world.stopped / name).slice(0, 1)
        part = row.take(pa.array(np.zeros(MANY // 8, np.int64)))
        with pq.ParquetWriter(world.box / "many" / name, row.schema, compression="zstd") as file:
            for _ in range(8):
                file.write_table(part, row_group_size=part.num_rows)


def metadata(path: Path, rng: random.Random, world: World) -> str:
    """Add metadata that pandas and Arrow act on."""
    table = pq.read_table(path)
    pickled = b"cos\nsystem\n(S'touch " + str(world.trace).encode() + b"'\ntR."
    given: dict[bytes, bytes] = rng.choice([
        {b"pandas": b"{"}, {b"pandas": b"[]"}, {b"pandas": b'{"index_columns": ["level"], "columns": []}'},
        {b"pandas": b'{"index_columns": [{"kind": "range", "start": 0, "stop": 9, "step": 0}], "columns": [1]}'},
        {b"": b"\xff" * 1000}, {b"x": b"y" * 10_000_000},
    ])  # fmt: skip
    if rng.random() < 0.3:
        marked = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": pickled}
        fields = [table.schema.field(0).with_metadata(marked), *list(table.schema)[1:]]
        _write(path, pa.table([column.combine_chunks() for column in table.columns], pa.schema(fields)))
        return "a pickled type"
    _write(path, table.replace_schema_metadata(given))
    return str(next(iter(given.items())))[:60]


PARQUET: tuple[Change, ...] = (other_values, other_values, other_values, other_columns, other_types, other_rows,
                               many_rows, metadata)  # fmt: skip


def _parts(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def _put(path: Path, header: str, data: bytes) -> None:
    text = header.encode("utf-8", "surrogatepass")
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def _metadata(path: Path) -> dict[str, str]:
    found = _parts(path)[0].get("__metadata__", {})
    return {str(name): str(value) for name, value in found.items()}


def shapes(path: Path, rng: random.Random, world: World) -> str:
    """Give the masks of a ticket other shapes in their metadata; other files get metadata that they should not have."""
    header, data = _parts(path)
    noted = json.loads(header.get("__metadata__", {}).get("shapes", '{"fc1.weight": [1]}'))
    name = rng.choice(list(noted))
    text = rng.choice([
        "[1000000, 1000000]", "[-1]", "[0]", "[]", "[1.5]", "null", '"x"', "[1000000000000000000, 1000000000000]",
        "[2, 2]", "[[1]]", f"[{'1,' * 99}1]", "true", "[4294967296, 1]", "[-1, -1]", "[65536, 65536]",
    ])  # fmt: skip
    noted[name] = "@@"
    header["__metadata__"] = {**header.get("__metadata__", {}), "shapes": json.dumps(noted).replace('"@@"', text)}
    _put(path, json.dumps(header), data)
    return f"{name} is {text[:30]}"


def other_metadata(path: Path, rng: random.Random, world: World) -> str:
    header, data = _parts(path)
    value = rng.choice(["{}", "[]", "null", "", "{", raw(rng, world), "[" * 100_000])
    how = rng.choice(["without", "replaced"])
    header.pop("__metadata__", None)
    if how == "replaced":
        header["__metadata__"] = {"shapes": value, "checkpoint": value}
    _put(path, json.dumps(header), data)
    return f"{how} {value[:30]}"


def header(path: Path, rng: random.Random, world: World) -> str:
    """Change the header of a file: its own length, the place, type or name of a tensor."""
    facts, data = _parts(path)
    how = rng.choice(["length", "offsets", "dtype", "shape", "name", "value"])
    if how == "length":
        size = rng.choice([0, 2**63, 2**64 - 1, 10**8, 100 * 2**30])
        path.write_bytes(struct.pack("<Q", size) + path.read_bytes()[8:])
        return f"{size} bytes"
    name = rng.choice([one for one in facts if one != "__metadata__"])
    if how == "offsets":
        facts[name]["data_offsets"] = rng.choice([[0, 2**62], [-1, 4], [4, 0], [], [0, 0]])
    elif how == "dtype":
        facts[name]["dtype"] = rng.choice(["I64", "F8_E4M3", "BF16", "BOOL", "F64", "X", None])
    elif how == "shape":
        facts[name]["shape"] = rng.choice([[2**32, 2**32], [], [0], [-1], [1] * 1000, None])
    elif how == "name":
        facts[rng.choice(["", "\x1b[2J", "../x", "a" * 10_000, "[/]"])] = facts.pop(name)
    else:
        text = json.dumps(facts).replace(json.dumps(facts[name]), raw(rng, world), 1)
        _put(path, text, data)
        return f"{name} is another value"
    _put(path, json.dumps(facts), data)
    return f"{how} of {name}"


def other_tensors(path: Path, rng: random.Random, world: World) -> str:
    """Change, drop, add or reshape a tensor."""
    held = dict(load(path.read_bytes()))
    name = rng.choice(sorted(held))
    how = rng.choice(
        ["nan", "inf", "zeros", "ones", "huge", "without", "one more", "other type", "reshaped", "negative"]
    )
    one = held[name]
    floating = one.dtype.kind == "f"
    if how in ("nan", "inf", "huge", "negative") and floating:
        held[name] = np.full_like(one, {"nan": np.nan, "inf": np.inf, "huge": 1e38, "negative": -1}[how])
    elif how == "without":
        del held[name]
    elif how == "one more":
        held[rng.choice(["fc9.weight", "\x1b[2J", "step"])] = one
    elif how == "other type":
        held[name] = one.astype(rng.choice(["int64", "float64", "uint8", "float16"]))
    elif how == "reshaped":
        held[name] = one.reshape(-1)[: max(1, one.size // 2)]
    else:
        held[name] = np.ones_like(one) if how == "ones" else np.zeros_like(one)
    path.write_bytes(save(held, metadata=_metadata(path)))
    return f"{how}: {name}"


SAFETENSORS: tuple[Change, ...] = (shapes, other_metadata, header, other_tensors, other_tensors)


def sealed_checkpoint(path: Path, rng: random.Random, world: World) -> str:
    """Change facts or tensors of a checkpoint, and its own SHA-256 with them."""
    held = dict(load(path.read_bytes()))
    sealed = json.loads(_metadata(path)["checkpoint"])
    facts = json.loads(sealed["facts"])
    if rng.random() < 0.6:
        name = rng.choice(sorted(facts))
        text = {
            "level": rng.choice(["1" + "0" * 30, "-1", "0", "2", "99", '"1"', "null", "1.5", "true"]),
            "step": rng.choice(["1" + "0" * 30, "-1", "0", "999999", '"1"', "null", "1.5"]),
            "seconds": rng.choice(["NaN", "1e999", "-1", '"x"', "null"]),
        }.get(name) or rng.choice(["null", "[]", "{}", '"x"', raw(rng, world), '{"x": [{"level": 1}]}'])
        if rng.random() < 0.15:
            del facts[name]
            text = "gone"
            written = json.dumps(facts)
        else:
            facts[name] = "@@"
            written = json.dumps(facts).replace('"@@"', text)
        said = f"{name} is {text[:40]}"
    else:
        one = rng.choice(sorted(held))
        how = rng.choice(["nan", "without", "reshaped", "zeros", "int64"])
        if how == "without":
            del held[one]
        elif how == "reshaped":
            held[one] = held[one].reshape(-1)[: held[one].size // 2]
        else:
            made = np.full_like(held[one], np.nan) if how == "nan" and held[one].dtype.kind == "f" else held[one] * 0
            held[one] = made.astype("int64") if how == "int64" else made
        written, said = sealed["facts"], f"{how}: {one}"
    sealed |= {"facts": written, "sha256": _checkpoint_digest(written, held)}
    path.write_bytes(save(held, metadata={"checkpoint": json.dumps(sealed)}))
    return said


def _checkpoint_digest(facts: str, held: dict[str, np.ndarray]) -> str:
    hashed = hashlib.sha256(facts.encode("utf-8", "surrogatepass"))
    for name, one in sorted(held.items()):
        hashed.update(f"{name} torch.{one.dtype} {tuple(one.shape)}".encode())
        hashed.update(np.ascontiguousarray(one).tobytes())
    return hashed.hexdigest()


CHECKPOINT: tuple[Change, ...] = (sealed_checkpoint, sealed_checkpoint, sealed_checkpoint, other_metadata, header,
                                  other_tensors)  # fmt: skip
