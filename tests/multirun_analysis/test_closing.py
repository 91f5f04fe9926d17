"""The closing table names each cell that is not in the means, and why."""

from collections.abc import Callable
from pathlib import Path

from multirun_analysis import closing, report
from multirun_analysis.load import Study, load
from multirun_analysis.making import Request


def test_the_table_counts_and_lists_what_is_not_done(mixed: Study) -> None:
    head, columns, *rows = closing.table(mixed.cells).splitlines()
    assert head == "29 cells: 24 done, 1 running, 1 pending, 1 failed, 1 diverged, 1 unreadable"
    assert columns.split() == ["key", "status", "cell", "reason"]
    assert [row.split()[1] for row in rows] == ["unreadable", "diverged", "failed", "pending", "running"]
    assert rows[2].split()[2:5] == ["init=xavier_u", "lr=0.1", "seed=3"]
    assert rows[2].endswith("  RuntimeError: out of memory")


def test_a_long_list_is_cut_and_says_so(mixed: Study) -> None:
    lines = closing.table(mixed.cells.assign(reason="lost")).splitlines()
    assert len(lines) == 2 + 20 + 1
    assert lines[-1] == "  ... and 9 more"


def test_where_all_is_done_there_is_nothing_to_list_or_note(mixed: Study) -> None:
    done = mixed.cells.query("status == 'done'")
    assert closing.table(done) == "24 cells: 24 done"
    assert closing.note(done) == ""


def test_the_note_says_what_the_means_lack(mixed: Study) -> None:
    assert closing.note(mixed.cells) == (
        "Of 29 cells the means lack 1 pending, 1 failed, 1 diverged, 1 unreadable, 1 running (but for finished levels)."
    )


def test_the_note_of_a_data_set_stands_under_every_figure_and_at_the_head_of_the_report(
    write_cell: Callable[..., str], tmp_path: Path, mixed: Study
) -> None:
    assert closing.caveats(mixed.cells) == ""
    for seed in (0, 1):
        write_cell(seed=seed, levels=1, epochs=1, dataset="small", dataset__note="pictures made small <b>$x$</b>")
    write_cell(levels=1, epochs=1)
    study = load(tmp_path / "made_up")
    says = "small: pictures made small <b>$x$</b>."
    assert closing.caveats(study.cells) == says
    assert Request(()).view(study).note == says
    page = report.page(study, (), tmp_path).decode()
    assert "small: pictures made small &lt;b&gt;$x$&lt;/b&gt;." in page
