"""A resolved config as a flat table row: dotted name -> value. No torch, no Hydra: the analysis uses it too."""

from collections.abc import Mapping

from ltsweep.schema import NUMBERED


def flatten(config: Mapping[str, object]) -> dict[str, object]:
    """Return dotted name -> scalar; the name of a group gives the name of its choice.

    `{"seed": 0, "init": {"name": "xavier_u", "gain": 1.0}, "lr": {"name": "constant", "value": 0.1}}` becomes
    `{"seed": 0, "init": "xavier_u", "init.gain": 1.0, "lr": 0.1, "lr.name": "constant"}`. Lists become text as the
    command line writes them (`[reinit,random_mask]`). A node with a target and without a name has that of its target.
    Hydra's own names (`_target_`, ...) are left out.
    """
    flat: dict[str, object] = {}
    for name, value in config.items():
        flat |= _flatten(str(name), value)
    return flat


def _flatten(name: str, value: object) -> dict[str, object]:
    if not isinstance(value, Mapping):
        return {name: text(value) if isinstance(value, list) else value}
    flat: dict[str, object] = {}
    used: tuple[str, ...] = ()
    if name in NUMBERED:
        flat, used = {name: value.get("value"), f"{name}.name": value.get("name")}, ("name", "value")
    elif "name" in value:
        flat, used = {name: value["name"]}, ("name",)
    elif "_target_" in value:
        flat = {name: text(value)}
    for key, inner in value.items():
        if key not in used and not str(key).startswith("_"):
            flat |= _flatten(f"{name}.{key}", inner)
    return flat


def text(value: object) -> str:
    """Return a value as the command line writes it; a YAML node with a target by the name of that target."""
    if isinstance(value, list):
        return f"[{','.join(text(item) for item in value)}]"
    if isinstance(value, Mapping) and "_target_" in value:
        return str(value["_target_"]).rpartition(".")[2]
    return str(value)
