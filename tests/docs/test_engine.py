"""The program of docs/engine.md, run from its first block to its last."""

import contextlib
import io
import re
import warnings
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).parents[2] / "docs/engine.md"
# The code of each ```python block, and the ```text block that follows it, if one does.
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


@pytest.fixture
def _torch_as_before():
    threads = torch.get_num_threads()
    with torch.random.fork_rng():
        yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_torch_as_before")
def test_every_block_runs_and_prints_what_the_page_says():
    page = PAGE.read_text()
    namespace = {"__name__": "engine_page"}
    for block in BLOCK.finditer(page):
        code, expected = block.groups()
        # As many lines before the code as on the page, so that a traceback names the page's own line.
        lines = page.count("\n", 0, block.start(1))
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("error")
            exec(compile("\n" * lines + code, str(PAGE), "exec"), namespace)
        assert printed.getvalue() == (expected or ""), f"line {lines} of {PAGE.name}"


def test_every_fence_is_read():
    page = PAGE.read_text()
    blocks = BLOCK.findall(page)
    assert len(blocks) == page.count("```python\n") >= 8
    assert sum(bool(expected) for _, expected in blocks) == page.count("```text\n") > 0
    assert page.count("```") == 2 * (page.count("```python\n") + page.count("```text\n"))


def test_every_block_proves_something():
    for code, expected in BLOCK.findall(PAGE.read_text()):
        assert expected or "assert" in code, code


def test_the_page_stays_short():
    page = PAGE.read_text()
    code = [line for block, _ in BLOCK.findall(page) for line in block.splitlines() if line.strip()]
    prose = [line for line in BLOCK.sub("", page).splitlines() if line.strip()]
    assert len(code) <= 100
    assert len(prose) <= 120
    assert all(len(line) <= 120 for line in code + prose)
