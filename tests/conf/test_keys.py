"""The keys of shipped choices: results on the disk are found by them, so growth must not move one."""

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from ltsweep.grid.cell import from_config

KEYS = json.loads((Path(__file__).parents[1] / "golden" / "keys.json").read_text())


@pytest.mark.parametrize("override", KEYS)
def test_the_key_of_a_choice_is_the_one_it_always_had(override):
    with initialize_config_module("ltsweep.conf", version_base="1.3"):
        config = compose("config", overrides=[override] if override else [])
    assert from_config(config).key == KEYS[override]
