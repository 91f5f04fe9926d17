"""Where a study lies: multirun/<study>, under every launcher and sweeper, Hydra's own included."""

import re
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ltsweep.errors import UserError
from ltsweep.words import shown

ROOT = "multirun"

# Characters of a study's name: a file's name has at most 255, and other names are made of it.
_LONGEST = 100
NAME = rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{_LONGEST - 1}}}"

# Settings of Hydra that say where it writes, by which other folders could be reached -> their values in conf/.
_PLACES = {
    "sweep.dir": f"{ROOT}/${{study}}",
    "sweep.subdir": "${cell_key:}",
    "run.dir": f"{ROOT}/${{study}}/${{cell_key:}}",
    "output_subdir": ".hydra",
    "job.name": "ltsweep",
    "job.chdir": False,
}


def study_folder(study: object, hydra: Any) -> Path:
    """Return the folder of a study, from its name and Hydra's own node of the config.

    Raises UserError for a name that is none, and where Hydra is told to write anywhere else.
    """
    is_number = isinstance(study, int | float) and abs(study) < 10**_LONGEST
    name = str(study) if isinstance(study, str) or is_number else ""
    if not re.fullmatch(NAME, name):
        raise UserError(
            f"study={shown(study)} is no name for a folder: up to {_LONGEST} letters, digits, '_', '-' and '.' are"
        )
    told = OmegaConf.to_container(hydra, resolve=False)
    for place, value in _PLACES.items():
        node: object = told
        for part in place.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        if node not in (value, str(value).replace("${study}", name)):
            raise UserError(
                f"hydra.{place}={shown(node)} is refused: a study is written to {ROOT}/<study> alone; "
                f"take study=NAME ({ROOT} itself may be a link to another disk)"
            )
    return Path(ROOT) / name
