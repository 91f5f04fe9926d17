"""Failed cells submitted again: a study may come from a stranger, and nothing that it says is run."""

import shlex
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from ltsweep.cluster import ledger, resubmit
from ltsweep.cluster.resubmit import differing, given_settings
from ltsweep.cluster.submit import script, settings_for
from ltsweep.errors import UserError
from ltsweep.run.resume import new_stack


@pytest.fixture
def study(tmp_path, monkeypatch, no_slurm):
    """Return the study's folder, from beside it, with a Slurm that takes all options."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(resubmit, "check_options", lambda options, study: None)
    return tmp_path / "s"


@pytest.fixture
def packed(monkeypatch):
    """Stop at what would be submitted; return the list that it goes into."""
    found = []

    def packs(free, *rest):
        found.append([one.key for one in free])
        return [(new_stack(free, {}),)]

    monkeypatch.setattr(resubmit, "make_packs", packs)
    monkeypatch.setattr(resubmit, "submit", lambda packs, study, settings, options: found.append(options) or ["8"])
    return found


@pytest.fixture(scope="module")
def preset():
    """Return the settings and options of the preset, composed once."""
    return given_settings(["device=cpu"], None, Path("s"))


@pytest.fixture
def by_preset(study, preset):
    """Return a function that submits failed cells again by the preset, given them and all cells."""
    settings, options = preset
    return lambda failed, cells: resubmit.resubmit(failed, cells, replace(settings, study=study), options, [])


def again(study, cells, *overrides, allowed=(), config_dir=None):
    settings, options = given_settings(overrides, config_dir, study)
    resubmit.resubmit(cells, cells, settings, options, allowed)


def test_the_failed_cells_of_an_own_study_are_submitted(by_preset, recorded, submitted, packed, capsys):
    one, other, third = recorded(seed=1), recorded(seed=2), recorded(seed=3)
    submitted([one.key, other.key])
    by_preset([one], [one, other, third])
    assert sorted(packed[0]) == sorted([one.key, other.key])  # a failed cell goes on in its stack
    assert capsys.readouterr().err == "2 cells submitted again as 1 tasks\n"
    with pytest.raises(UserError, match=rf"^1 failed cells \({third.key}\) were not submitted to Slurm"):
        by_preset([third], [third])


@pytest.mark.parametrize(
    "changes",
    [
        {"init": {"name": "x", "_target_": "evil.drawn", "_partial_": True}},
        {"model": {"name": "x", "_target_": "ltsweep.slurm._run", "_args_": ["touch", "evil"]}},
        {"method": {"name": "imp", "_target_": "ltsweep.method.IMP", "score": {"_target_": "evil.drawn"}}},
        {"method": {"name": "imp", "_target_": "ltsweep.method.IMP", "controls": [{"_target_": "evil.drawn"}]}},
        {"lr": {"name": "x", "_target_": "ltsweep.optim.constant", "value": '${oc.create:"{_target_: evil.drawn}"}'}},
    ],
    ids=["init", "model", "score", "controls", "interpolation"],
)
@pytest.mark.parametrize("failed_itself", [True, False])
def test_a_config_that_names_other_code_is_refused_before_any_of_it_runs(
    study, by_preset, recorded, submitted, packed, monkeypatch, changes, failed_itself
):
    (study.parent / "evil.py").write_text("open('evil', 'w')\ndef drawn(*_, **__): ...\n")
    monkeypatch.syspath_prepend(study.parent)
    good, bad = recorded(seed=1), recorded(**changes)
    submitted([good.key, bad.key])
    with pytest.raises(UserError, match=rf"{bad.key}/config.yaml: "):
        by_preset([bad if failed_itself else good], [good, bad])
    assert packed == []
    assert not (study.parent / "evil").exists()


def test_a_config_that_lacks_a_group_is_one_line(by_preset, recorded, submitted):
    one = recorded(model={"name": 3})
    submitted([one.key])
    with pytest.raises(UserError, match=rf"{one.key}/config.yaml: model=.* is not a choice of the group model"):
        by_preset([one], [one])


def test_nothing_of_the_last_submission_is_taken_over(study, preset, recorded, submitted, packed, capsys):
    one = recorded(seed=1)
    _, usual = preset
    before = asdict(usual) | {
        "setup": ["touch evil"],
        "additional_parameters": {"prolog": "evil"},
        "partition": "evil",
        "account": "a b;c",
        "gpus_per_node": 0,
        "mem_gb": 1.5,
    }
    measured = {"x": {"_target_": "os.system", "command": "touch evil"}}
    submitted([one.key], before, {"data_dir": "/e $(touch evil)", "device": "cpu", "workers": 3, "measure": measured})
    again(study, [one], "hydra.launcher.qos=low", "device=cuda")
    options = packed[1]
    assert options.qos == "low"
    assert {name: value for name, value in asdict(options).items() if name != "qos"} == {
        name: value for name, value in asdict(usual).items() if name != "qos"
    }
    assert "evil" not in script(study, options, 1)
    said = capsys.readouterr().err.splitlines()[0]
    copied = said.removeprefix("the last submission had ").partition(", and had another ")[0]
    parsed = [OverridesParser.create().parse_override(text) for text in shlex.split(copied)]
    assert {one.key_or_group: one.value() for one in parsed} == {
        "hydra.launcher.partition": "evil",
        "hydra.launcher.account": "a b;c",
        "hydra.launcher.gpus_per_node": 0,
        "hydra.launcher.mem_gb": 1.5,
        "device": "cpu",
        "workers": 3,
    } | {"hydra.launcher.qos": None}
    assert said.endswith(
        ", and had another hydra.launcher.setup and hydra.launcher.additional_parameters and data_dir and measure"
    )
    assert "touch" not in said


@pytest.mark.parametrize(
    "value", ["123", "null", "a,b", "it's", 'a"b', "a\\b", "a\nb", "${x}", "\x1b[2J", "a" * 300, [1], "é x"]
)
def test_what_is_shown_to_be_copied_gives_the_same_value_again(preset, value):
    _, options = preset
    last = ledger.Submission("here", "me", "2026-01-01T00:00:00", {}, {"partition": value}, {}, {})
    line = differing(last, options, {})
    assert line.isprintable()
    assert len(line) < 400
    if line != "the last submission had another hydra.launcher.partition":
        (copied,) = shlex.split(line.removeprefix("the last submission had "))
        assert OverridesParser.create().parse_override(copied).value() == value


def test_the_settings_come_from_the_users_own_preset(study, tmp_path, recorded, submitted, packed):
    preset = tmp_path / "mine/hydra/launcher/site.yaml"
    preset.parent.mkdir(parents=True)
    preset.write_text("defaults: [slurm]\npartition: gpu\nsetup: [module load x]\n")
    settings, options = given_settings(
        ["hydra/launcher=site", "hydra.launcher.qos=low", "data_dir=d", "measure=[weights]"], tmp_path / "mine", study
    )
    assert (options.partition, options.qos, options.setup) == ("gpu", "low", ["module load x"])
    assert (str(settings.data_dir), settings.study) == ("d", study)
    assert settings_for(settings, options)["measure"].keys() == {"weights"}


def test_a_preset_of_a_built_in_presets_name_is_refused(study, tmp_path):
    preset = tmp_path / "mine/hydra/launcher/slurm.yaml"
    preset.parent.mkdir(parents=True)
    preset.write_text("partition: gpu\n")
    with pytest.raises(UserError, match=r"^\S*mine/hydra/launcher/slurm.yaml would not be read: /"):
        given_settings([], tmp_path / "mine", study)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("lr=0.1", "lr=0.1: a cell is submitted again as it is; what may be chosen is hydra/launcher, "),
        ("study=x", "study=x: a cell is submitted again as it is"),
        ("hydra.sweep.dir=x", "hydra.sweep.dir=x: a cell is submitted again as it is"),
        ("device=cpu,cuda", "device=cpu,cuda: a submission has one device; give it one value"),
        ("hydra/launcher=local", "cells are submitted to Slurm, by hydra/launcher=slurm or a preset of it, not "),
        ("hydra/launcher=submitit_slurm", "hydra/launcher=submitit_slurm would give each cell a silent job"),
        ("hydra/launcher=nope", "hydra/launcher/nope is not a choice; available in 'hydra/launcher': "),
        ("hydra.launcher.particion=x", "hydra.launcher.particion is not a name of the config; did you mean "),
        ("hydra.launcher.timeout_min=0", "hydra.launcher.timeout_min=0 is out of range"),
        ("hydra.launcher.qos=${nope}", "the settings cannot be composed: "),
        ("x[", "x[ is not an override: "),
    ],
)
def test_a_mistake_is_one_line(study, override, says):
    with pytest.raises(UserError) as refused:
        given_settings([override], None, study)
    assert str(refused.value).startswith(says)
    assert str(refused.value).isprintable()
