"""Every study lies at multirun/<study>."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from ltsweep.errors import UserError
from ltsweep.grid.place import study_folder
from ltsweep.words import shown

HYDRA = {
    "sweep": {"dir": "multirun/${study}", "subdir": "${cell_key:}"},
    "run": {"dir": "multirun/${study}/${cell_key:}"},
    "output_subdir": ".hydra",
    "job": {"name": "ltsweep", "chdir": False},
}


def folder(study, **changes):
    return study_folder(study, OmegaConf.merge(HYDRA, OmegaConf.from_dotlist([f"{n}={v}" for n, v in changes.items()])))


@pytest.mark.parametrize("study", ["default", "a.b-c_d", "x" * 100, 3, 1.5, "..a"[2:]])
def test_a_name_is_a_folder_of_multirun(study):
    assert folder(study) == Path("multirun") / str(study)


@pytest.mark.parametrize(
    "study",
    [None, "", ".", "..", "../x", "/x", "a/b", "x" * 101, "a\n", "a b", "\ud800", [], {}, [1], 10**5000, 10**200, -1],
    ids=shown,
)
def test_what_is_no_name_is_one_line(study):
    with pytest.raises(UserError, match=r"^study=.* is no name for a folder: up to 100 letters") as caught:
        folder(study)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("place", ["sweep.dir", "sweep.subdir", "run.dir", "output_subdir", "job.name", "job.chdir"])
@pytest.mark.parametrize("value", ["../../outside", "/tmp/outside", "true", "multirun/another", "${now:%Y}", "3"])
def test_no_setting_of_hydra_leads_elsewhere(place, value):
    with pytest.raises(UserError, match=f"^hydra.{place}=.* is refused: a study is written to multirun/<study> alone"):
        folder("default", **{place: value})


def test_the_same_place_by_its_own_name_is_allowed():
    assert folder("mine", **{"sweep.dir": "multirun/mine"}) == Path("multirun/mine")
