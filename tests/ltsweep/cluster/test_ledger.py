"""Submitit's pickles are run as programs, so the folder they are loaded from is the user's own and nobody else's."""

import os

import pytest

from ltsweep.cluster.ledger import make_folder
from ltsweep.errors import UserError


def test_nobody_else_may_write_where_tasks_load_pickles(tmp_path):
    folder = tmp_path / ".submitit"
    folder.mkdir()
    folder.chmod(0o777)
    assert make_folder(tmp_path) == folder
    assert folder.stat().st_mode & 0o022 == 0


def test_another_users_folder_is_refused(tmp_path):
    folder = tmp_path / ".submitit"
    folder.mkdir()
    try:
        os.chown(folder, os.getuid() + 1, -1)
    except PermissionError:
        pytest.skip("gives a folder to another user, which takes root")
    with pytest.raises(UserError, match=r"belongs to another user"):
        make_folder(tmp_path)


def test_a_link_to_another_folder_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".submitit").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"is a symbolic link"):
        make_folder(tmp_path)
