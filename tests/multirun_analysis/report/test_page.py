"""The page as text: what is on it, the same bytes from the same records, and studies of every sort."""

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from plotly.offline import get_plotlyjs

from multirun_analysis import claims
from multirun_analysis.__main__ import main
from multirun_analysis.load import Study, load
from multirun_analysis.report import FILE, page, plots


class Reader(HTMLParser):
    """Check that tags nest, and collect text, links, ids and tables' cells."""

    VOID = frozenset({"meta", "link", "br", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.labels: list[str] = []
        self.scopeless = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        if tag not in self.VOID:
            self.open.append(tag)
        self.ids += [found["id"]] if found.get("id") else []
        self.labels += (found.get("aria-labelledby") or "").split()
        self.links += [found["href"]] if tag == "a" and found.get("href") else []
        self.scopeless += tag == "th" and "scope" not in found

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text.append(data)


def read(content: bytes) -> Reader:
    reader = Reader()
    reader.feed(content.decode())
    reader.close()
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))
    assert set(reader.labels) <= set(reader.ids)
    assert reader.scopeless == 0
    return reader


def said(content: bytes) -> str:
    return " ".join(" ".join(read(content).text).split())


def numbers(content: bytes) -> dict[str, object]:
    found = re.search(rb'<script type="application/json" id="data">(.*?)</script>', content, re.DOTALL)
    assert found
    return json.loads(found[1])  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def mixed_page(mixed: Study) -> bytes:
    return page(mixed, claims.published(), mixed.path / "figures")


def test_the_same_records_give_the_same_bytes(mixed: Study, mixed_page: bytes) -> None:
    assert page(load(mixed.path), claims.published(), mixed.path / "figures") == mixed_page


def test_nothing_is_fetched(mixed_page: bytes) -> None:
    head = mixed_page.split(b"<script")[0]
    assert not re.search(rb'\b(src|href)="(?!#|data:|\.\.)', head)
    assert b"@import" not in head
    assert not re.search(rb"<script[^>]+src=", mixed_page)


def test_what_was_run_and_what_went_wrong_is_said(mixed_page: bytes) -> None:
    text = said(mixed_page)
    assert "29 cells: 24 done , 1 running , 1 pending , 1 failed , 1 diverged , 1 unreadable" in text
    assert "Unfinished. 2 of 29 cells are not done." in text
    assert "RuntimeError: out of memory" in text
    assert "loss is nan at level 3, iteration 917" in text
    assert "kaiming_n, kaiming_u, xavier_n, xavier_u" in text
    assert (
        "Tickets drawn by Xavier initialization are more accurate"
        not in text.split("claims that this study cannot test")[0]
    )


def test_the_page_answers_first(mixed_page: bytes) -> None:
    text = said(mixed_page)
    assert (
        text.index("The ticket is better than reinit by") < text.index("of workers, each of") < text.index("A claim is")
    )
    for question in ("Ticket against controls.", "init.", "lr.", "Ticket against dense."):
        assert question in text.split("What depends on what")[0]
    assert "Whether the effect of" in text or "The effect of" in text


def test_a_claim_says_its_name_its_effect_and_what_would_make_it_hold(study: Path) -> None:
    mine = study.parent / "mine.yaml"
    mine.write_text(
        "{name: mine alone, source: me, text: My own claim., compare: {left: {}, right: dense}, remaining: 0.4,"
        " direction: not_less, margin: 0.005}"
    )
    text = said(page(load(study), claims.read([mine]), study))
    wanted = "Effect: test accuracy of arm ticket less dense network; the claim holds where it is > −0.50 points."
    assert f"mine alone. My own claim. me. {wanted}" in text
    assert "cannot test" not in text


def test_where_no_claim_can_be_tested_there_is_no_empty_table(study: Path) -> None:
    content = page(load(study), claims.published(), study)
    assert b'id="verdicts"' not in content
    assert b'id="untested"' in content


def test_figures_beside_the_page_are_linked(study: Path) -> None:
    for name in ("heat_map.png", "heat_map.pdf", "my #1 <map>.svg", "notes.txt"):
        (study / name).write_bytes(b"")
    links = read(page(load(study), [], study)).links
    assert {"heat_map.png", "heat_map.pdf", "my%20%231%20%3Cmap%3E.svg"} <= set(links)
    assert "notes.txt" not in links


def test_figures_drawn_or_removed_after_the_page_are_linked_or_not(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, one = study / "figures", ["--figures", "accuracy_vs_remaining", "--style", "screen"]

    def links() -> set[str]:
        return {link for link in read((out / FILE).read_bytes()).links if link.endswith((".png", ".pdf"))}

    assert main([str(study), "--figures", "none", "--report"]) == 0
    before = (out / FILE).read_bytes()
    assert links() == set()
    assert main([str(study), *one]) == 0
    assert links() == {"accuracy_vs_remaining.png"}
    assert main([str(study), *one, "--format", "pdf"]) == 0
    assert links() == {"accuracy_vs_remaining.png", "accuracy_vs_remaining.pdf"}
    capsys.readouterr()
    assert main([str(study), "--figures", "none", "--report"]) == 0
    assert re.search(rf"up to date +{re.escape(str(out / FILE))}\n", capsys.readouterr().out)
    for figure in links():
        (out / figure).unlink()
    assert main([str(study), "--figures", "none", "--report"]) == 0
    assert (out / FILE).read_bytes() == before
    (out / FILE).write_bytes(b"my own notes")
    assert main([str(study), *one]) == 0
    assert (out / FILE).read_bytes() == b"my own notes"


def test_a_choice_of_ones_own_needs_its_folder_and_the_page_says_so(
    write_cell: Callable[..., str], tmp_path: Path
) -> None:
    write_cell(init="mine", levels=1, epochs=1)
    text = said(page(load(tmp_path / "made_up"), [], tmp_path))
    assert "python -m ltsweep --config-dir MY_CONF " in text
    assert "Put the folder of your own choices in place of MY_CONF ." in text


def test_cells_of_two_versions_are_counted_by_version(write_cell: Callable[..., str], tmp_path: Path) -> None:
    for seed in range(3):
        path = tmp_path / "made_up" / write_cell(seed=seed, levels=1, epochs=1) / "status.json"
        versions = {"ltsweep": "0.1.0", "code": "abc" if seed else "def"}
        fields = json.loads(path.read_text()) | {"versions": versions}
        fields.pop("sha256", None)  # it is of the fields as they were
        path.write_text(json.dumps(fields))
    text = said(page(load(tmp_path / "made_up"), [], tmp_path))
    assert "ltsweep 0.1.0, source abc (2 cells); ltsweep 0.1.0, source def (1 cell)" in text
    assert "The cells were not all made with the same code and packages." in text


def test_every_cell_has_a_link_to_its_folder(mixed: Study, mixed_page: bytes) -> None:
    links = [unquote(link) for link in read(mixed_page).links if link.startswith("..")]
    found = {(mixed.path / "figures" / link).resolve() for link in links}
    assert found == {(mixed.path / key).resolve() for key in mixed.cells["key"]}


def test_cells_are_in_order_of_what_sets_them_apart(mixed: Study, mixed_page: bytes) -> None:
    rows = re.findall(rb'<tr><th scope="row"><a href="[^"]*/(\w+)/"><code>', mixed_page)
    at = mixed.cells.astype({"key": "str"}).set_index("key").loc[[key.decode() for key in rows]]
    at = at[at["status"].ne("unreadable")]
    places = list(zip(at["init"].astype("str"), at["lr"], at["seed"], strict=True))
    assert places == sorted(places)


def test_an_axis_whose_choices_share_no_weights_remaining_is_named(
    write_cell: Callable[..., str], tmp_path: Path
) -> None:
    for rate, init in ((rate, init) for rate in (0.2, 0.45) for init in ("xavier_u", "kaiming_u")):
        write_cell(prune_rate=rate, init=init, levels=3, epochs=1)
    text = said(page(load(tmp_path / "made_up"), [], tmp_path))
    assert "Not compared: prune_rate. No two cells that differ in this alone" in text


def test_every_target_on_the_page_is_there(mixed_page: bytes) -> None:
    reader = read(mixed_page)
    assert {link[1:] for link in reader.links if link.startswith("#")} <= set(reader.ids)


def test_the_curves_are_the_means_of_a_loop(mixed: Study, mixed_page: bytes) -> None:
    curves = numbers(mixed_page)["curves"]
    assert curves["columns"] == ["init", "lr"]
    assert len(curves["lines"]) == 4 * 2 * 2
    (line,) = [line for line in curves["lines"] if line["config"] == ["kaiming_u", "0.1"] and line["arm"] == "reinit"]
    rows = [
        row
        for row in mixed.levels.to_dict("records")
        if (row["init"], row["lr"], row["arm"], row["level"], row["status"]) == ("kaiming_u", 0.1, "reinit", 3, "done")
    ]
    by_seed: dict[int, list[float]] = {}
    for row in rows:
        by_seed.setdefault(row["seed"], []).append(row["final_test_accuracy"])
    means = [sum(draws) / len(draws) for draws in by_seed.values()]
    at = line["level"].index(3)
    mean, low, high = (part[at] for part in line["values"]["test_accuracy"])
    assert (mean, low, high) == pytest.approx((sum(means) / 3, min(means), max(means)), abs=1e-6)
    assert line["n"][at] == 3


def test_more_lines_than_can_be_shown_are_counted(mixed: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "MOST_LINES", 5)
    found = plots.lines(mixed)
    assert (len(found["lines"]), found["left_out"]) == (5, 11)


def test_what_a_record_says_is_text_and_never_markup(write_cell: Callable[..., str], tmp_path: Path) -> None:
    bad = '</script><img src=x onerror="document.title=1">&'
    write_cell(init=bad, levels=1, epochs=1)
    write_cell(levels=1, epochs=1)
    write_cell(status="failed", last=0, seed=1, levels=1, epochs=1, error=bad)
    content = page(load(tmp_path / "made_up"), claims.published(), tmp_path)
    assert b"<img" not in content
    assert said(content).count(bad) >= 2
    assert numbers(content)["curves"]["lines"][0]["config"] == [bad]
    assert content.count(b"<script") == content.count(b"</script") == 3 + get_plotlyjs().count("<script")


def test_a_link_leads_to_a_folder_whatever_the_study_is_called(
    write: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "javascript:alert(1)"
    key = write(tmp_path / name, levels=0, epochs=1)
    monkeypatch.chdir(tmp_path)
    found = read(page(load(Path(name)), claims.published(), Path())).links
    assert [link for link in found if not link.startswith("#")] == [f"javascript%3Aalert%281%29/{key}/"]


@pytest.mark.parametrize(
    "cells",
    [
        [{"status": "pending"}],
        [{}],
        [{"levels": 0}, {"levels": 0, "seed": 1}],
        [{"status": "failed", "last": 2, "error": "x"}],
        [{"validation": 0}, {"validation": 0, "seed": 1, "last": 3, "status": "running"}],
    ],
)
def test_studies_of_every_sort_have_a_page(
    write_cell: Callable[..., str], tmp_path: Path, cells: list[dict[str, object]]
) -> None:
    for cell in cells:
        write_cell(**cell)
    text = said(page(load(tmp_path / "made_up"), claims.published(), tmp_path))
    assert f"{len(cells)} cell" in text
    assert ("Unfinished." in text) == any(cell.get("status") in ("pending", "running") for cell in cells)


@pytest.fixture
def study(mixed_folder: Path, tmp_path: Path) -> Path:
    small = tmp_path / "small"
    for cell in sorted(mixed_folder.iterdir())[:4]:
        shutil.copytree(cell, small / cell.name)
    return small


def test_the_command_writes_it_once_and_anew_for_other_claims(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [str(study), "--figures", "none", "--report"]
    mine = study.parent / "mine.yaml"
    mine.write_text(
        "{name: mine, source: me, text: My own claim., compare: {left: {}, right: dense}, remaining: 0.4,"
        " direction: greater}"
    )
    for more, state in (([], "written"), ([], "up to date"), (["--claims", str(mine)], "written")):
        assert main([*options, *more]) == 0
        assert re.search(rf"  {state} +{re.escape(str(study / 'figures' / FILE))}\n", capsys.readouterr().out)
    assert "My own claim." in said((study / "figures" / FILE).read_bytes())


def test_a_mistake_in_a_claim_is_one_line_before_any_work(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = study.parent / "mine.yaml"
    mine.write_text("{name: mine}")
    assert main([str(study), "--claims", str(mine)]) == 2
    assert capsys.readouterr().err == f"multirun_analysis: {mine}: source: missing; it is a text: who claims it\n"
    assert main([str(study), "--figures", "none", "--claims", str(mine)]) == 2
    assert capsys.readouterr().err == "multirun_analysis: --claims are for the report; add --report\n"
    assert not (study / "figures").exists()


def test_a_filter_is_said_on_the_page(study: Path) -> None:
    assert main([str(study), "--figures", "none", "--report", "--where", "status == 'done'"]) == 0
    assert "Only cells where status == 'done'." in said((study / "figures" / FILE).read_bytes())


def test_several_studies_have_one_page(write: Callable[..., str], tmp_path: Path) -> None:
    keys = {}
    for study in ("a/multirun/one", "b/multirun/two"):
        keys[study] = write(tmp_path / study, levels=1, epochs=1)
    content = page(load(*(tmp_path / study for study in keys)), claims.published(), tmp_path / "both")
    text = said(content)
    assert "2 cells: 2 done" in text
    links = {unquote(link) for link in read(content).links if link.startswith("..")}
    assert links == {f"../{study}/{key}/" for study, key in keys.items()}
    assert re.findall(r"python -m ltsweep .*?(study=\S+)", text) == ["study=one", "study=two"]


@pytest.mark.parametrize(("headline", "least"), [("accuracy", "0.1 points"), ("loss", "0.005 nats"), ("return", "")])
def test_the_least_difference_worth_seeing_is_that_of_the_scores(
    headline: str, least: str, write_cell: Callable[..., str], tmp_path: Path
) -> None:
    for seed in range(2):
        for init in ("xavier_u", "kaiming_u"):
            write_cell(init=init, seed=seed, levels=2, epochs=1, headline=headline)
    text = page(load(tmp_path / "made_up"), [], tmp_path).decode()
    assert re.findall(r"worth seeing, below ([^<]*)\.<", text) == ([least] if least else [])
