"""Findings in the terminal: whole, in its encoding, and nothing of the program's in control."""

from __future__ import annotations

import io

import pytest

from compilespan.findings.finding import Finding
from compilespan_service.reporters.characters import console_on
from compilespan_service.reporters.findings import MAX_SHOWN, print_findings


class Stream(io.TextIOWrapper):
    def __init__(self, raw, encoding, is_terminal):
        super().__init__(raw, encoding=encoding, errors="strict")
        self._is_terminal = is_terminal

    def isatty(self):
        return self._is_terminal


def printed(*found, encoding="utf-8", width=80, is_terminal=False):
    raw = io.BytesIO()
    file = Stream(raw, encoding, is_terminal)
    console = console_on(file)
    console.width, console.no_color = width, True
    print_findings(console, found, "elsewhere is the rest")
    file.flush()
    return raw.getvalue().decode(encoding).removeprefix("\n")


def finding(**fields):
    values = {"code": "CS010", "what": "it cost", "seconds": 1.5, "count": 1}
    return Finding(**{**values, "evidence": "a guard", "fix": "a fix", **fields})


def test_nothing_is_printed_of_nothing():
    assert printed() == ""


def test_each_has_its_seconds_its_evidence_its_fix_and_its_link():
    text = printed(finding(link="https://example.org/page", file="/x/app.py", line=7))
    lines = text.splitlines()
    assert lines[0] == "What cost the most"
    assert lines[1] == "        1.50 s  it cost  /x/app.py:7"
    assert [line.strip() for line in lines[2:5]] == [
        "a guard",
        "→ a fix (CS010)",
        "https://example.org/page",
    ]


def test_minutes_keep_the_columns():
    lines = printed(finding(seconds=7384.0, is_serious=True), finding(seconds=0.0)).splitlines()
    assert lines[1] == "✕ 123 min 04 s  it cost"
    assert lines[4] == "             –  it cost"


def test_what_is_cut_is_counted():
    text = printed(*(finding(name=str(n)) for n in range(MAX_SHOWN + 3)))
    assert text.count("it cost") == MAX_SHOWN
    assert "and 3 more; elsewhere is the rest" in text


@pytest.mark.parametrize("letter", ["\x1b]0;title\x07", "\x1b[2J", "\n", "\r", "\u202e"])
def test_what_a_program_said_moves_no_cursor(letter):
    fields = ("what", "evidence", "fix", "file")
    text = printed(finding(**dict.fromkeys(fields, f"a{letter}b")))
    assert letter not in text.replace("\n", "") or letter == "\n"
    assert len(text.splitlines()) == 5


def test_a_long_text_is_cut_and_a_link_that_is_none_is_left_out():
    text = printed(finding(evidence="x" * 5000, link="javascript:alert(1)"))
    assert "x" * 397 + "..." in text
    assert "javascript" not in text


def test_where_the_encoding_has_no_others_the_characters_are_plain():
    text = printed(finding(is_serious=True), finding(seconds=0.0), encoding="ascii")
    assert "x 1.50 s" in text
    assert "-> a fix" in text
    assert "-  it cost" in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_on_a_terminal_long_texts_are_wrapped_below_their_own_column(width):
    text = printed(finding(fix="word " * 60), width=width, is_terminal=True)
    below = text.splitlines()[2:-1]
    assert len(below) > 3
    assert all(line.startswith(" " * 16) and len(line.rstrip()) <= width for line in below)


def test_a_path_is_relative_to_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "  app/model.py:3" in printed(finding(file=f"{tmp_path}/app/model.py", line=3))
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "/x/app.py:3" in printed(finding(file="/x/app.py", line=3))
