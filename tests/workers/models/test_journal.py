"""The journal of a download, as a crash may leave it."""

from __future__ import annotations

from pathlib import Path

from workers.models.journal import PartJournal, boot_id, is_of_this_boot, read_lines

PLAN, OTHER = "a" * 64, "b" * 64
DIGESTS = {0: "0" * 64, 7: "7" * 64}


def _written(path: Path) -> None:
    journal = PartJournal(path, PLAN)
    journal.begin({})
    for number, digest in DIGESTS.items():
        journal.note(number, digest)
    journal.close()


def test_what_was_noted_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "x.journal"
    _written(path)
    journal = PartJournal(path, PLAN)
    assert (journal.noted, journal.is_proven, is_of_this_boot(path)) == (DIGESTS, True, True)
    journal.begin(journal.noted)
    journal.note(9, "9" * 64)
    journal.close()
    assert PartJournal(path, PLAN).noted == {**DIGESTS, 9: "9" * 64}


def test_a_journal_of_another_plan_counts_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.journal"
    _written(path)
    assert PartJournal(path, OTHER).noted == {}


def test_a_journal_of_another_boot_has_to_be_proved(tmp_path: Path) -> None:
    path = tmp_path / "x.journal"
    _written(path)
    path.write_text(path.read_text().replace(boot_id(), "before"))
    journal = PartJournal(path, PLAN)
    assert (journal.noted, journal.is_proven, is_of_this_boot(path)) == (DIGESTS, False, False)


def test_a_line_that_was_cut_off_or_is_nonsense_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.journal"
    _written(path)
    with path.open("ab") as file:
        file.write(b"\xff\0 nonsense\n" + b"8 " + b"8" * 63)
    assert PartJournal(path, PLAN).noted == DIGESTS
    assert len(read_lines(path)) == 4


def test_no_journal_and_an_empty_one(tmp_path: Path) -> None:
    assert PartJournal(tmp_path / "none", PLAN).noted == {}
    (tmp_path / "empty").touch()
    assert PartJournal(tmp_path / "empty", PLAN).noted == {}
    assert not is_of_this_boot(tmp_path / "empty")
