"""The settings of the launcher `slurm`: each mistake is one line that says what is allowed."""

from pathlib import Path

import ltsweep.conf
import pytest
import yaml

from ltsweep.cluster.options import RULES, options_from
from ltsweep.errors import UserError

PRESET = Path(ltsweep.conf.__file__).parent / "hydra/launcher/slurm.yaml"


@pytest.fixture
def given():
    """Return the settings of the preset, without Hydra's own field."""
    settings = yaml.safe_load(PRESET.read_text())
    return {name: value for name, value in settings.items() if name in RULES}


def test_the_preset_holds_every_setting_in_range(given):
    assert given.keys() == RULES.keys()
    assert options_from(given).additional_parameters == {}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"cells_per_task": 0}, "cells_per_task=0 is out of range: it is auto, or a whole number from 1"),
        ({"partition": " "}, "partition= is out of range: it is null or a name"),
        ({"timeout_min": 1.5}, "timeout_min=1.5 is out of range: it is a whole number of minutes from 1"),
        ({"gpus_per_node": True}, "gpus_per_node=True is out of range: it is a whole number from 0"),
        ({"mem_gb": 0}, "mem_gb=0 is out of range: it is null, or a number above 0"),
        ({"setup": ["a\nb"]}, "setup=['a\\nb'] is out of range: it is a list of shell commands, each of one line"),
        (
            {"additional_parameters": {"a": []}},
            "additional_parameters={'a': []} is out of range: it is sbatch's own options by name, "
            "such as {exclusive: true}",
        ),
        ({"signal_delay_s": "soon"}, "signal_delay_s=soon is out of range: it is auto, or whole seconds from 1"),
        ({"wait": 1}, "wait=1 is out of range: it is true or false"),
        ({"poll_seconds": 16}, "poll_seconds=16 is out of range: it is a number of seconds above 0, up to 15"),
        (
            {"timeout_min": 1, "signal_delay_s": 60},
            "signal_delay_s=60 is out of range: a task has 60 seconds",
        ),
        ({"particion": "gpu"}, "particion is unknown; did you mean partition?"),
        ({"xyzzy": 1}, f"xyzzy is unknown; there are {', '.join(RULES)}"),
    ],
)
def test_a_mistake_is_one_line(given, change, text):
    with pytest.raises(UserError) as caught:
        options_from(given | change)
    assert str(caught.value) == f"hydra.launcher.{text}"


def test_a_missing_setting_names_the_preset(given):
    del given["wait"]
    with pytest.raises(UserError, match=r"^hydra.launcher.wait is missing; a preset begins with: defaults: \[slurm\]$"):
        options_from(given)


@pytest.mark.parametrize(("minutes", "seconds"), [(1, 15), (6, 90), (600, 90)])
def test_a_task_is_told_to_stop_some_time_before_its_end(given, minutes, seconds):
    assert options_from(given | {"timeout_min": minutes}).signal_delay == seconds
