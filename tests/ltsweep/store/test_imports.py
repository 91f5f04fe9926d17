"""Store and show know nothing of the science, and what the analysis and the status read needs no torch."""

import ast
import subprocess
import sys

import pytest

from ltsweep.store.provenance import PACKAGE

LOWER = {
    "store": {"store", "grid", "schema", "errors", "words"},
    "show": {"show", "store", "grid", "schema", "errors", "words"},
    "cluster": {"cluster", "run", "show", "store", "grid", "schema", "errors", "words"},
}
LIGHT = (
    *(f"ltsweep.store.{name}" for name in ("comparison", "contents", "disk", "folder", "hold", "leftovers")),
    *(f"ltsweep.store.{name}" for name in ("provenance", "reader", "repair", "tables", "tickets")),
    *(f"ltsweep.show.{name}" for name in ("events", "labels", "page", "reckoning", "streams", "table", "watcher")),
    *(
        f"ltsweep.cluster.{name}"
        for name in ("follow", "keeping", "ledger", "looking", "options", "slurm", "standings", "watch")
    ),
    "ltsweep.export.command",
    "ltsweep.export.opened",
    "ltsweep.start",
    "ltsweep.status",
    "ltsweep.study",
    "ltsweep.ticket",
)


def imported(path):
    """Return the parts of the package that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ltsweep."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.ImportFrom) and node.module == "ltsweep":
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("wing", LOWER)
def test_arrows_go_down_only(wing):
    files = list((PACKAGE / wing).glob("*.py"))
    assert len(files) > 4
    assert {name for path in files for name in imported(path)} <= LOWER[wing]


def test_a_ticket_in_a_model_of_ones_own_needs_no_hydra():
    script = (
        "import ltsweep.export.command, ltsweep.export.load, sys; print('torch' in sys.modules, 'hydra' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
        == "True False\n"
    )


def test_what_reads_a_study_needs_no_torch():
    script = f"import {', '.join(LIGHT)}, sys; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout == "False\n"
    )
