"""The command line of `python -m ltsweep.ticket`: a ticket described, verified, exported and timed.

A study may come from a stranger: only choices of ltsweep, torch and torchvision are called, and looking writes nothing
into the study.
"""

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from ltsweep.errors import UserError, loading
from ltsweep.export.opened import DRAWN, EXAMPLE, Ticket, open_ticket
from ltsweep.grid.flat import flatten
from ltsweep.schema import ticket_file
from ltsweep.show.ending import exit_after
from ltsweep.show.page import WIDE, Column, page, plain, table
from ltsweep.words import shown

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ltsweep.export.networks import Form

# Characters of a config in brief, and of a reason.
_CONFIG, _REASON = 600, 400
# Tensors that a message names.
_NAMED = 4
# Examples of the batches that are timed.
_BATCHES = (1, 256)
# Packages that torch.onnx.export needs.
_ONNX = ("onnx", "onnxscript")

_LAYERS: list[Column] = [("layer", "left"), *((name, "right") for name in ("weights", "remaining", "share"))]
_FORMS: list[Column] = [("form", "left"), ("numbers", "right"), ("bytes", "right")]

_EPILOG = f"""examples:
  python -m ltsweep.ticket {EXAMPLE}
  python -m ltsweep.ticket multirun/default/0123@3 --export here

KEY is a folder of the study; its first four digits or more will do. LEVEL counts prunings; 0 is the dense network.
--export writes masked.safetensors (a plain state dict, zero where pruned), pruned.safetensors (weight_orig and
weight_mask, for a model with the masks of torch.nn.utils.prune) and compact.safetensors with compact.py (a smaller
dense network without the units that nothing reaches or reads). Exit code 0; 1: the seed draws other initial weights
than the recorded ones; 2: a mistake, or a file that is not what was written.

In a program of yours:
  from ltsweep.ticket import load
  load(model, "{EXAMPLE}")"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0, 1 if the seed draws other weights or the disk is full, 2 for a mistake."""
    exit_after(lambda: _run(_given(arguments)))


def _given(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m ltsweep.ticket",
        description="Describe and verify a ticket, take it out of its study, and measure what it is worth.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("ticket", metavar="STUDY/KEY@LEVEL", help=f"such as {EXAMPLE}")
    parser.add_argument(
        "--weights",
        default=DRAWN,
        metavar="WEIGHTS",
        help="initial, or weights that a method kept, by level and step: 0_500 (default: initial)",
    )
    parser.add_argument("--export", type=Path, metavar="DIR", help="write every form into a new or empty folder")
    parser.add_argument("--pt", action="store_true", help="with --export: .pt files too, for weights_only=True")
    parser.add_argument(
        "--onnx", action="store_true", help="with --export: the smallest form as ONNX too; needs onnx and onnxscript"
    )
    parser.add_argument("--no-latency", action="store_true", help="measure no time")
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module of your own that the recorded config names and that may run; several times for several",
    )

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; --help shows examples")

    parser.error = refuse  # type: ignore[method-assign]
    given = parser.parse_args(arguments)
    if given.export is None and (given.pt or given.onnx):
        raise UserError(f"--{'pt' if given.pt else 'onnx'} is for --export DIR")
    for module in given.allow:
        if not all(part.isidentifier() for part in module.split(".")):
            raise UserError(f"--allow {shown(module)} is no name of a module")
    if given.onnx and (missing := [name for name in _ONNX if importlib.util.find_spec(name) is None]):
        raise UserError(f"--onnx needs {' and '.join(missing)}: pip install 'ltsweep[onnx]'")
    return given


def _run(given: argparse.Namespace) -> int:
    ticket = open_ticket(given.ticket, given.weights)
    if given.export is not None:
        _check_folder(given.export, ticket)
    _describe(ticket, given.weights)
    with loading():  # torch, which --help and a mistake do without
        from ltsweep.export.networks import examples, forms_of, write

    model, agrees = _rebuild(ticket, given.allow)
    forms, why = forms_of(ticket, model)
    if why:
        _say(f"no compacted network: {shown(why, _REASON)}")
    if given.onnx and model is None:
        raise UserError("--onnx needs the model, which could not be built")
    timed = [] if model is None or given.no_latency else [examples(ticket, batch) for batch in _BATCHES]
    _say("")
    origin = f"{ticket.folder.name}@{ticket.level}, weights {given.weights}"
    _compare(forms, origin, timed)
    if given.export is not None:
        given.export.mkdir(parents=True, exist_ok=True)
        onnx = examples(ticket, 2) if given.onnx else None
        for path in write(forms, given.export, origin, pt=given.pt, onnx=onnx):
            _say(f"wrote {path}")
    return 0 if agrees else 1


def _describe(ticket: Ticket, weights: str) -> None:
    """Print what a ticket's records say of it, and the counts of its masks layer by layer."""
    config, status = ticket.config, ticket.status
    brief = " ".join(
        f"{name}={value}" for name, value in flatten(config).items() if "." not in name and value is not None
    )
    rewind = config["method"].get("rewind") if isinstance(config.get("method"), dict) else None
    others = f" (kept: {', '.join(ticket.kept)}; the levels start by method.rewind={shown(rewind)})" * bool(ticket.kept)
    versions = status.get("versions", {})
    made = ", ".join(f"{name} {shown(versions[name])}" for name in ("ltsweep", "torch") if name in versions)
    _say(ticket.address)
    _say(f"cell      {status['status']}, begun {shown(status.get('started', ''))}" + f" with {made}" * bool(made))
    _say(f"config    {shown(brief, _CONFIG)}")
    _say(f"weights   {weights}{others}")
    for number, (name, digest) in enumerate(ticket.files.items()):
        _say(f"{'' if number else 'SHA-256':10}{digest}  {name}")
    rows = [(name, mask.size, int(np.count_nonzero(mask))) for name, mask in ticket.masks.items()]
    rows.append(("all", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    _say("")
    shares = [(name, f"{size:,}", f"{left:,}", f"{left / max(1, size):.2%}") for name, size, left in rows]
    page(WIDE).print(table(_LAYERS, shares))
    _say("")


def _rebuild(ticket: Ticket, allowed: Sequence[str]) -> "tuple[nn.Module | None, bool]":
    """Print whether the seed draws the recorded weights; return the model, if there is one, and whether it may be so.

    What cannot be rebuilt is no disagreement.
    """
    from ltsweep.export.rebuild import model_of, redrawn, unlike

    seed = shown(ticket.config.get("seed"))
    try:
        model = model_of(ticket, allowed)
    except UserError as error:
        _say(f"the model and the initial weights cannot be rebuilt: {shown(str(error), _REASON)}")
        return None, True
    try:
        other = unlike(redrawn(ticket, model, allowed), ticket)
    except UserError as error:
        _say(f"the initial weights cannot be rebuilt: {shown(str(error), _REASON)}")
        return model, True
    if not other:
        _say(f"seed {seed} draws the recorded initial weights again, bit for bit")
        if ticket.level:
            mask = (ticket.folder / ticket_file(ticket.level)).stat().st_size
            drawn = sum(value.nbytes for value in ticket.initial.values())
            _say(f"its mask file has {mask:,} bytes, the weights that the seed draws {drawn:,}")
    else:
        names = ", ".join(other[:_NAMED]) + ", ..." * (len(other) > _NAMED)
        _say(f"seed {seed} does not draw the recorded initial weights: {shown(names)} differ")
    return model, not other


def _compare(forms: "Sequence[Form]", origin: str, timed: "Sequence[Tensor]") -> None:
    """Print the size of each form, and the times of its forward passes of some batches, (B, *shape) each."""
    from ltsweep.export.forms import as_safetensors
    from ltsweep.export.latency import latencies

    columns = list(_FORMS)
    sizes = [len(as_safetensors(form.tensors, origin)) for form in forms]
    rows = [[form.name, f"{form.numbers:,}", f"{size:,}"] for form, size in zip(forms, sizes, strict=True)]
    networks = {form.name: form.network for form in forms if form.network is not None}
    counts = []
    for batch in timed:
        seconds, count = latencies(networks, batch)
        columns.append((f"batch {len(batch)}", "right"))
        counts.append(f"{count} of batch {len(batch)}")
        for row in rows:
            row.append(f"{1000 * seconds[row[0]]:#.3g} ms")
    page(WIDE).print(table(columns, rows))
    if counts:
        _say(f"medians of n = {', '.join(counts)} on one thread, in turn, after a warm-up; bytes as safetensors")


def _check_folder(folder: Path, ticket: Ticket) -> None:
    """Raise UserError unless a folder is new or empty, and not within the study."""
    if folder.resolve().is_relative_to(ticket.folder.parent.resolve()):
        raise UserError(f"--export {folder} is within the study, which is only read; give a folder elsewhere")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"--export {folder} is not an empty folder; give a new one, so that nothing is overwritten")


def _say(line: str) -> None:
    page(WIDE).print(plain(line))
