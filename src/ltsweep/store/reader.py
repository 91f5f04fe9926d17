"""What a study's text files say: read within limits, of a known shape, before anything else sees it. No torch.

A study may come from a stranger. A file that is not what this program writes raises BrokenFileError, in words that
follow its name; nothing here runs, expands or follows what a file holds.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import yaml
from msgspec import Meta

from ltsweep.errors import BrokenFileError, UserError
from ltsweep.grid.key import key
from ltsweep.schema import ARM, CONFIG, FILES, KEY, MOST_LEVELS, READABLE, STATUS, STATUSES, VERSION
from ltsweep.store import disk
from ltsweep.words import shown

T = TypeVar("T")

# Bytes of a text file of a study: a status of a thousand levels has 150 thousand.
MOST_TEXT = 4 << 20
# Bytes, values and depth of nesting of a YAML file: a config has two thousand, a hundred and four.
_MOST_YAML, _MOST_VALUES, _DEEPEST = 1 << 20, 20_000, 32
# Whole numbers of more bits are none that this program writes.
_BITS = 64

Name = Annotated[str, Meta(max_length=200)]
Key = Annotated[str, Meta(pattern=rf"\A{KEY}\Z")]
Count = Annotated[int, Meta(ge=0, le=2**62)]
Seconds = Annotated[float, Meta(ge=0, le=1e12)]
# What a status notes of a file: size in bytes, time of change in nanoseconds, SHA-256.
Noted = tuple[Count, Annotated[int, Meta(ge=-(2**62), le=2**62)], Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]]


class Status(msgspec.Struct):
    """The fields of status.json that programs rely on; others may be there, and stay."""

    status: Literal[STATUSES]  # type: ignore[valid-type]
    level: Annotated[int, Meta(ge=-1, le=MOST_LEVELS)]
    schema: int
    error: Annotated[str, Meta(max_length=1_000_000)] | None = None
    seconds: Seconds = 0.0
    levels: Annotated[int, Meta(ge=0, le=MOST_LEVELS)] = 0
    arms: dict[Annotated[str, Meta(pattern=rf"\A{ARM}\Z")], Annotated[int, Meta(ge=0, le=MOST_LEVELS)]] = {}
    key: Key | None = None
    files: dict[Annotated[str, Meta(pattern=rf"\A(?:{FILES})\Z")], Noted] = {}
    stack: Key | None = None
    stack_cells: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    stack_keys: list[Key] = []
    packed: dict[Name, Name | int | float | None] = {}
    device: Name = ""
    started: Name = ""
    updated: Name = ""
    versions: dict[Name, Name] = {}
    hardware: dict[Name, Name | int | float | bool | None] = {}
    measured: list[Name] = []
    sources: dict[Name, Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]] = {}


def status(folder: Path) -> dict[str, Any]:
    """Return the fields of the status.json of a cell's folder.

    Raises FileNotFoundError, BrokenFileError, or UserError if another version of ltsweep wrote it.
    """
    fields = _mapping(_json(disk.read(folder / STATUS, MOST_TEXT)), "a status")
    digest = fields.pop("sha256", None)  # older records have none
    if digest is not None and digest != digest_of(fields):
        raise BrokenFileError("does not hold what was written (its SHA-256 is another)")
    _check_version(folder / STATUS, fields.get("schema"))
    _as(fields, Status, "a status")
    if fields.get("key", folder.name) != folder.name:
        raise BrokenFileError(f"is the status of another cell, {fields['key']}")
    return fields


def config(folder: Path, noted: disk.Noted | None = None) -> dict[str, Any]:
    """Return the resolved config of a cell's folder, whose key is the folder's name.

    noted: what status.json notes of the file, which alone says how far the cell goes: that is not in the key. Raises
    FileNotFoundError, or BrokenFileError for a file that is no config, that of another cell, or not what was noted.
    """
    found = mapping(folder / CONFIG)
    if noted is not None:
        disk.check(folder / CONFIG, noted, thorough=True)
    if folder.name not in [key(found, version) for version in READABLE]:
        raise BrokenFileError(f"is not the config of this cell: the key of what it holds is {key(found)}")
    return found


def mapping(path: Path) -> dict[str, Any]:
    """Return the mapping of a YAML file of plain values: texts, numbers, true, false, null, lists, mappings.

    Raises FileNotFoundError, or BrokenFileError, for aliases, tags and absurd sizes too.
    """
    text = disk.read(path, _MOST_YAML)
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it was built
    try:
        _check_events(text, loader)
        found = yaml.load(text, loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BrokenFileError(f"is not plain YAML: {shown(str(error))}") from error
    return _mapping(found, "a mapping of names to values")


def json_as(path: Path, kind: type[T], what: str, most: int = MOST_TEXT) -> T:
    """Return a JSON file as an object of `kind`, a dataclass or Struct. Raises FileNotFoundError or BrokenFileError."""
    return _as(_json(disk.read(path, most)), kind, what)


def digest_of(status: Mapping[str, Any]) -> str:
    """Return the SHA-256 that a status notes of its own other fields."""
    return hashlib.sha256(text_of(status).encode()).hexdigest()


def text_of(status: Mapping[str, Any]) -> str:
    """Return a status as the text that is written and hashed."""
    return json.dumps(status, indent=1)


def parsed(text: str | bytes, kind: type[T], what: str) -> T:
    """Return JSON that another file holds within it as an object of `kind`. Raises BrokenFileError."""
    return _as(_json(text), kind, what)


def _json(content: str | bytes) -> Any:
    try:
        found = msgspec.json.decode(content)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BrokenFileError("is not whole") from error
    _check_plain(found)
    return found


def _as(plain: Any, kind: type[T], what: str) -> T:
    try:
        return msgspec.convert(plain, kind)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise BrokenFileError(f"is not {what}: {shown(_without_pattern(str(error)))}") from error


def _without_pattern(said: str) -> str:
    return re.sub(r" matching regex '.*'", " of its form", said)


def _mapping(found: Any, what: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise BrokenFileError(f"is not {what}")
    _check_plain(found)
    return found


def _check_plain(found: Any) -> None:
    """Raise BrokenFileError unless all is plain values, nested and sized as this program writes them."""
    left = [(found, 0)]
    while left:
        value, depth = left.pop()
        if depth > _DEEPEST:
            raise BrokenFileError(f"is nested more than {_DEEPEST} deep")
        if isinstance(value, dict):
            if not all(isinstance(name, str) for name in value):
                raise BrokenFileError("has a name that is no text")
            left += [(inner, depth + 1) for inner in (*value, *value.values())]
        elif isinstance(value, list):
            left += [(inner, depth + 1) for inner in value]
        elif isinstance(value, str):
            if not value.isascii() and not _encodable(value):
                raise BrokenFileError("has a text that is not Unicode")
        elif isinstance(value, int):
            if value.bit_length() > _BITS:
                raise BrokenFileError(f"has {shown(value, 40)} in it")
        elif not isinstance(value, float | None):
            raise BrokenFileError(f"has a value of type {type(value).__name__} in it")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_events(text: bytes, loader: Any) -> None:
    """Raise BrokenFileError for YAML that would expand, make objects, or nest deeper than the C loader survives."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=loader)):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise BrokenFileError("has an alias, and none is read")
        if tag := getattr(event, "tag", None):
            raise BrokenFileError(f"has the tag {shown(tag, 60)}, and none is read")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise BrokenFileError(f"is nested more than {_DEEPEST} deep")
        if count > _MOST_VALUES:
            raise BrokenFileError(f"has more than {_MOST_VALUES:,} values")


def _check_version(path: Path, schema: Any) -> None:
    if not isinstance(schema, int) or schema in READABLE:
        return
    if schema > VERSION:
        raise UserError(
            f"{path} was written by a newer ltsweep (its records are of version {shown(schema, 40)}, this one knows "
            f"{VERSION}); update ltsweep, or take another study=NAME"
        )
    raise UserError(
        f"{path} was written by an older ltsweep (its records are of version {shown(schema, 40)}, this one's are "
        f"{VERSION}); force=true computes it again, another study=NAME keeps it"
    )
