"""A ticket is what its files hold, by another reader; a mistake or a broken file is one line; nothing is written."""

import json
import os

import numpy as np
import pytest
from safetensors.numpy import load_file

from ltsweep.errors import UserError
from ltsweep.export.opened import open_ticket


def test_a_ticket_is_what_its_files_hold(folder):
    before = {path: path.lstat().st_mtime_ns for path in folder.parent.rglob("*")}
    plain = load_file(folder / "tickets/init.safetensors")
    for level in (1, 2):
        found = open_ticket(f"{folder}@{level}")
        packed = load_file(folder / f"tickets/level_{level:02d}.safetensors")
        assert (found.folder, found.level, found.kept) == (folder, level, ["0_5"])
        assert found.weights.keys() == found.initial.keys() == plain.keys()
        assert all((found.weights[name] == plain[name]).all() for name in plain)
        for name, mask in found.masks.items():
            bits = "".join(f"{byte:08b}" for byte in packed[name])[: mask.size]
            assert [int(bit) for bit in bits] == mask.astype(int).ravel().tolist()
            assert mask.shape == plain[name].shape
        noted = json.loads((folder / "status.json").read_text())["files"]
        assert found.files == {name: noted[name][2] for name in found.files}
        assert set(found.files) == {"config.yaml", "tickets/init.safetensors", f"tickets/level_{level:02d}.safetensors"}
    assert {path: path.lstat().st_mtime_ns for path in folder.parent.rglob("*")} == before


def test_level_0_is_dense(folder):
    found = open_ticket(f"{folder}@0")
    assert list(found.masks) == list(open_ticket(f"{folder}@1").masks)
    assert all(mask.all() for mask in found.masks.values())


def test_kept_weights(folder):
    kept = load_file(folder / "tickets/weights_00_5.safetensors")
    found = open_ticket(f"{folder}@1", "0_5")
    assert all((found.weights[name] == value).all() for name, value in kept.items())
    assert not np.array_equal(found.weights["fc1.weight"], found.initial["fc1.weight"])
    assert "tickets/weights_00_5.safetensors" in found.files
    assert open_ticket(f"{folder}@1", "00_5").files == found.files


def test_the_first_digits_of_a_key_will_do(folder):
    assert open_ticket(f"{folder.parent}/{folder.name[:4]}@1").folder == folder
    other = folder.with_name(folder.name[:6] + "0" * 10)
    other.mkdir()
    with pytest.raises(UserError, match=f"{folder.name[:5]} begins 2 keys: .*{folder.name}.* lists them"):
        open_ticket(f"{folder.parent}/{folder.name[:5]}@1")
    assert open_ticket(f"{folder}@1").folder == folder


@pytest.mark.parametrize(
    ("address", "weights", "says"),
    [
        ("{folder}", "initial", "its level is missing; on record are levels 0 \\(dense\\) to 2: "),
        ("{folder}@3", "initial", "has no level 3; on record are levels 0 \\(dense\\) to 2"),
        ("{folder}@-1", "initial", "@-1 is no level; on record are levels 0"),
        ("{folder}@1.0", "initial", "@1.0 is no level"),
        ("{study}/ffff@1", "initial", "ffff begins none of the 1 keys of"),
        ("{study}/abc@1", "initial", "is no ticket: one is STUDY/KEY@LEVEL, such as"),
        ("{study}@1", "initial", "is no ticket"),
        ("", "initial", "is no ticket"),
        ("@", "initial", "is no ticket"),
        ("{study}/../nope/0123@1", "initial", "nope is not a folder"),
        ("{folder}/0123@1", "initial", "holds no cells"),
        ("{folder}@1", "0_6", "holds no weights 0_6; it holds initial, 0_5"),
        ("{folder}@1", "../x", "holds no weights ../x; it holds initial, 0_5"),
        ("{folder}@1\x1b[2J", "initial", r"@1\\x1b\[2J is no level"),
    ],
)
def test_a_mistake_is_one_line(folder, address, weights, says):
    with pytest.raises(UserError, match=says) as refused:
        open_ticket(address.format(folder=folder, study=folder.parent), weights)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["config.yaml", "status.json", *(f"tickets/{n}.safetensors" for n in (
    "init", "level_01", "weights_00_5"
))])  # fmt: skip
@pytest.mark.parametrize("harm", ["flip", "cut", "remove", "pipe", "link"])
def test_a_broken_file_is_named(folder, name, harm, tmp_path):
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    if harm == "flip":
        path.write_bytes(content[:-20] + bytes([content[-20] ^ 1]) + content[-19:])
    elif harm == "cut":
        path.write_bytes(content[:-1])
    elif harm == "pipe":
        os.mkfifo(path)
    elif harm == "link":
        (tmp_path / "elsewhere").write_bytes(content)
        path.symlink_to(tmp_path / "elsewhere")
    if (name, harm) == ("status.json", "cut"):  # its last byte ends the line
        return
    with pytest.raises(UserError, match=f"{path} ") as refused:
        open_ticket(f"{folder}@1", "0_5")
    assert "\n" not in str(refused.value)


def test_a_folder_that_is_a_link_is_not_followed(folder, tmp_path):
    (folder / "tickets").rename(tmp_path / "tickets")
    (folder / "tickets").symlink_to(tmp_path / "tickets")
    with pytest.raises(UserError, match="tickets is a symbolic link"):
        open_ticket(f"{folder}@1")
    folder.rename(tmp_path / "cell")
    folder.symlink_to(tmp_path / "cell")
    with pytest.raises(UserError, match=f"{folder} is a symbolic link"):
        open_ticket(f"{folder}@1")


def test_the_config_must_hash_to_the_folder(folder):
    other = folder.with_name("0123456789abcdef")
    folder.rename(other)
    with pytest.raises(UserError, match="is the status of another cell"):
        open_ticket(f"{other}@1")


def test_a_file_that_the_status_does_not_note_does_not_count(folder, reseal):
    files = json.loads((folder / "status.json").read_text())["files"]
    for name in [name for name in files if name.startswith("tickets/")]:
        reseal(folder, files={one: noted for one, noted in files.items() if one != name})
        with pytest.raises(
            UserError, match=f"notes no {name}|holds no weights 0_5|has no level 2; on record are levels 0"
        ):
            open_ticket(f"{folder}@{2 if '02' in name else 1}", "0_5")


def test_a_cell_without_a_mask_has_no_ticket(folder, reseal):
    reseal(folder, arms={"ticket/0": 0}, status="diverged")
    with pytest.raises(UserError, match="has no ticket on record yet"):
        open_ticket(f"{folder}@0")
