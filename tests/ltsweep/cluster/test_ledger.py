"""What was submitted: the ledger is read whatever its files hold, and submitit's pickles are the user's own alone."""

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltsweep.cluster import ledger
from ltsweep.cluster.ledger import Submission, drop_pickles, job_name, make_folder
from ltsweep.errors import UserError

KEY = "0123456789abcdef"
# As the first version wrote it.
EARLIER = """{
 "cluster": "throwaway",
 "user": "me",
 "submitted": "2025-11-02T10:11:12.131415+00:00",
 "versions": {"python": "3.12.3", "torch": "2.9.0+cpu", "code": "0123456789abcdef"},
 "options": {"cells_per_task": "auto", "partition": null, "setup": [], "additional_parameters": {}, "mem_gb": 1.5},
 "settings": {"data_dir": "/home/me/data", "device": "cpu", "workers": "auto", "measure": {}},
 "tasks": {"12_0": ["0123456789abcdef"], "13": ["fedcba9876543210", "0000000000000000"]}
}
"""


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


def test_a_ledger_of_an_earlier_version_is_read(tmp_path):
    (make_folder(tmp_path) / "2025-11-02T101112.131415+0000.json").write_text(EARLIER)
    assert ledger.read(tmp_path).unread == {}
    assert {key: task for key, (task, _) in ledger.holders(tmp_path).items()} == {
        "0123456789abcdef": "12_0",
        "fedcba9876543210": "13",
        "0000000000000000": "13",
    }
    ledger.release(tmp_path, ["0123456789abcdef"])
    assert "0123456789abcdef" not in ledger.holders(tmp_path)
    assert len(ledger.holders(tmp_path)) == 2


def test_what_is_written_is_read_and_the_newest_submission_counts(tmp_path):
    make_folder(tmp_path)
    for task in ("7", "8_3"):
        ledger.add(tmp_path, None, {"torch": "2"}, {"setup": ["x"]}, {"workers": 1}, {task: [KEY]})
    task, submission = ledger.holders(tmp_path)[KEY]
    assert (task, submission.cluster, submission.options) == ("8_3", None, {"setup": ["x"]})


@pytest.mark.parametrize(
    "change",
    [
        {"tasks": {"--me": [KEY]}},
        {"tasks": {"12 --user=root": [KEY]}},
        {"tasks": {"12_[0-9]": [KEY]}},
        {"tasks": {"12,13": [KEY]}},
        {"tasks": {"../../x": [KEY]}},
        {"tasks": {"12\n": [KEY]}},
        {"tasks": {"12": ["../../x"]}},
        {"tasks": {"12": [f"{KEY}\n"]}},
        {"tasks": {"12": "x"}},
        {"tasks": [KEY]},
        {"user": "-u"},
        {"user": "a,root"},
        {"user": "a b"},
        {"user": "a" * 1000},
        {"user": 3},
        {"cluster": "--all"},
        {"cluster": "a b"},
        {"submitted": "yesterday"},
        {"submitted": None},
        {"versions": {"torch": 2}},
        {"versions": {"torch": "x" * 1000}},
        {"options": {"setup": "\ud800"}},
        {"options": {"a": 1 << 70}},
        {"options": []},
    ],
)
def test_a_ledger_with_odd_values_is_named_and_not_believed(tmp_path, change):
    path = make_folder(tmp_path) / "a.json"
    path.write_text(json.dumps(json.loads(EARLIER) | change))
    found = ledger.read(tmp_path)
    assert found.submissions == {}
    assert list(found.unread) == [path]
    assert found.unread[path].isprintable()
    ledger.release(tmp_path, [KEY])
    assert path.exists()


def make_link(path):
    path.with_name("else.txt").write_text(EARLIER)
    path.symlink_to(path.with_name("else.txt"))


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        os.mkdir,
        make_link,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.write_text("[" * 100_000),
        lambda path: path.write_text('{"a": ' * 50 + "1" + "}" * 50),
        lambda path: path.write_text('{"submitted": NaN}'),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\xff\xfe"),
        lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 40),
    ],
    ids=["fifo", "folder", "link", "zero", "brackets", "deep", "nan", "empty", "bytes", "huge"],
)
def test_a_ledger_that_is_no_file_of_ours_is_named_and_the_others_are_read(tmp_path, make):
    folder = make_folder(tmp_path)
    (folder / "b.json").write_text(EARLIER)
    make(folder / "c.json")
    found = ledger.read(tmp_path)
    assert list(found.unread) == [folder / "c.json"]
    assert list(found.submissions) == [folder / "b.json"]


def test_a_ledger_folder_that_is_a_link_is_not_followed(tmp_path):
    (make_folder(tmp_path / "other") / "a.json").write_text(EARLIER)
    (tmp_path / ".submitit").symlink_to(tmp_path / "other/.submitit")
    assert ledger.read(tmp_path).submissions == {}
    assert "is a symbolic link" in ledger.read(tmp_path).unread[tmp_path / ".submitit"]


def test_many_ledgers_cost_no_more_than_the_newest_thousand(tmp_path):
    folder = make_folder(tmp_path)
    for number in range(3_000):
        (folder / f"{number:05d}.json").write_text(EARLIER)
    began = time.monotonic()
    found = ledger.read(tmp_path)
    assert time.monotonic() - began < 30
    assert [path.name for path in found.submissions] == [f"{number:05d}.json" for number in range(2_000, 3_000)]
    assert found.unread == {folder: "holds 3,000 submissions, and the newest 1,000 are read"}


@given(st.data())
def test_a_ledger_with_any_byte_changed_is_read_or_named(tmp_path_factory, data):
    path = make_folder(tmp_path_factory.mktemp("s")) / "a.json"
    content = bytearray(EARLIER.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    found = ledger.read(path.parents[1])
    assert len(found.submissions) + len(found.unread) == 1
    for submission in found.submissions.values():
        assert isinstance(submission, Submission)
        names = [submission.user, *submission.tasks, *([submission.cluster] if submission.cluster else [])]
        assert not any(name.startswith("-") or name.split() != [name] or "," in name for name in names)


def test_files_of_a_number_that_slurm_is_yet_to_give_are_removed_before_a_submission(tmp_path):
    folder = make_folder(tmp_path)
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in ("12_0_submitted.pkl", "99_submitted.pkl", "99_0_log.out", "ab_submitted.pkl", "12_0_log.err"):
        (folder / name).write_text("x")
    (folder / "99_1_0_log.err").symlink_to(victim)
    (folder / ".submission_file_ab.sh").symlink_to(folder / "12_submission.sh")  # submitit's own
    drop_pickles(tmp_path, {"12"})
    assert {path.name for path in folder.iterdir()} == {
        "12_0_submitted.pkl",
        "12_0_log.err",
        "99_0_log.out",
        "ab_submitted.pkl",
        ".submission_file_ab.sh",
    }
    assert victim.read_text() == "mine"


def test_a_job_has_the_name_of_its_study_from_wherever_it_is_seen(tmp_path, monkeypatch):
    (tmp_path / "multirun/x").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "multirun/x")
    assert job_name(tmp_path / "multirun/x") == "ltsweep-x"
    assert job_name(Path()) == "ltsweep-x"
