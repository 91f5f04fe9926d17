"""The keys of shipped choices: results on the disk are found by them, so growth must not move one."""

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from ltsweep.grid.cell import from_config
from ltsweep.grid.key import key
from ltsweep.schema import READABLE, VERSION

KEYS = json.loads((Path(__file__).parents[1] / "golden" / "keys.json").read_text())


@pytest.mark.parametrize("override", KEYS[f"version {VERSION}"])
def test_the_key_of_a_choice_is_the_one_it_always_had(override):
    """Also the key that an older version gave it, by which the analysis knows its results."""
    with initialize_config_module("ltsweep.conf", version_base="1.3"):
        config = compose("config", overrides=[override] if override else [])
    cell = from_config(config)
    assert cell.key == KEYS[f"version {VERSION}"][override]
    assert [key(cell.config, version) for version in READABLE] == [KEYS[f"version {v}"][override] for v in READABLE]
