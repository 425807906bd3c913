"""A run in terminals of any width: names stay readable, numbers whole, pictures as they are kept.

After a change that is meant, ``COMPILESPAN_NEW_PICTURES=1`` draws them anew; look at each.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import io
import os
import re
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from captures import BEGAN_NS, CUT_OFF, RECORDS, capture, compiled
from compilespan_service.capture.capture import Dump
from compilespan_service.reporters import terminal
from compilespan_service.reporters.characters import console_on, flowing
from compilespan_service.reporters.now import now_line
from compilespan_service.reporters.tables import cost_table

PICTURES = Path(__file__).parent / "terminals"
ROOT = Path(__file__).parents[2]
RICH = re.search(r"^rich==(\d+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]
IS_DRAWN_ANEW = "COMPILESPAN_NEW_PICTURES" in os.environ
WIDTHS = (60, 80, 120, 200)
MANY = (
    *RECORDS,
    compiled("artefact", 45.3, 0.2, kind="load", component="language_model", graphs=0),
    compiled("cudagraph", 45.5, 0.1, kind="capture", component="language_model"),
    compiled("triton_kernel", 45.6, 0.1, kind="kernel", component="other"),
    compiled("skips", 45.7, 0.1, outcome="skipped", component="other"),
)


def printed(run, width=120, encoding="utf-8"):
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    console = console_on(file)
    console.width = width
    terminal.report(run, console, "-o FILE has all")
    file.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.skipif(
    importlib.metadata.version("rich").split(".")[0] != RICH,
    reason=f"the pictures are rich {RICH}'s: others pad tables otherwise",
)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_picture_is_the_one_that_was_looked_at(width):
    console = Console(
        record=True,
        file=io.StringIO(),
        width=width,
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
        legacy_windows=False,
    )
    run = capture(MANY, interrupted=(CUT_OFF,), unknown=("process 12 (sh) ran as user nobody",))
    terminal.report(run, console, "-o FILE has all")
    picture = console.export_svg(title=f"{width} columns", unique_id=f"columns-{width}")
    picture = re.sub(r"\s*@font-face \{.*?\}", "", picture, flags=re.DOTALL)  # asks a server
    kept = PICTURES / f"{width}.svg"
    if IS_DRAWN_ANEW:
        kept.write_text(picture, "utf-8")
    assert picture == kept.read_text("utf-8")


@pytest.mark.parametrize("width", range(44, 201, 4))
def test_names_keep_sixteen_letters_and_numbers_all_their_digits(width):
    text = printed(capture(MANY), width)
    (head,) = [line for line in text.splitlines() if "seconds" in line and "failed for" in line]
    (first,) = [line for line in text.splitlines() if line.startswith("CLIPVisionModelW")]
    assert len(head) <= width
    assert "14.9 s" in first
    (failed,) = [line for line in text.splitlines() if line.startswith("<lambda>")]
    assert re.search(r"0 s +1\.20 s", failed)
    (total,) = [line for line in text.splitlines() if line.startswith("total")]
    assert total.split()[1:5] == ["40.9", "s", "1.20", "s"]
    assert "…" not in text


def test_columns_that_find_no_room_are_named():
    assert "no room in 60 columns for: graphs, captures, kernels" in printed(capture(MANY), 60)
    assert "no room in" not in printed(capture(MANY), 200)


def test_there_is_no_column_of_components_where_nothing_is_an_encoder():
    assert "component" in printed(capture())
    others = tuple(each for each in RECORDS if not each.is_encoder)
    text = printed(capture(others))
    assert "component" not in text
    assert "LlamaForCausalLM" in text


def test_a_failure_has_its_seconds_and_its_first_line():
    text = printed(capture())
    (failed,) = [line for line in text.splitlines() if line.startswith("<lambda>")]
    assert "1.20 s" in failed
    assert "CppCompileError: C++ compile error" in text
    assert text.index("could not be compiled") < text.index("compiled again")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_characters_that_the_encoding_lacks_are_others(encoding):
    run = capture(MANY, interrupted=(CUT_OFF,), unknown=("Ω is not known",))
    text = printed(run, encoding=encoding)
    assert "x VisionTower was still compiling" in text
    assert "compilespan - 1 process - ran 46.0 s" in text
    assert "? is not known" in text


def test_nothing_is_said_to_have_compiled_only_if_that_is_known():
    nothing = capture(())
    assert printed(nothing) == "compilespan: torch compiled nothing\n"
    unseen = dataclasses.replace(nothing, saw_torch=False)
    assert "saw no process import torch" in printed(unseen)
    run = dataclasses.replace(nothing, unknown=("process 7 (x) ran as user nobody",))
    text = printed(run)
    assert "nothing" not in text
    assert text == "! compilespan: process 7 (x) ran as user nobody\n"


def test_what_was_cut_off_says_when_and_with_how_much_memory():
    text = printed(capture((), interrupted=(CUT_OFF,)))
    assert (
        "✕ VisionTower was still compiling (building kernels) when process 4711 died: for 5.50 s, "
        "1 graph done; it and its children used 7.4 of 8.0 GB of memory" in text
    )
    goes_on = dataclasses.replace(CUT_OFF, is_running=True, peak_bytes=None)
    text = printed(capture((), interrupted=(goes_on,)))
    assert "when the program ended: for 5.50 s, 1 graph done\n" in text


def test_a_name_of_the_program_moves_no_cursor_and_is_no_markup():
    run = capture((compiled("a\x1b[2Jb[red]c", 1, 1.0),))
    text = printed(run)
    assert "\x1b" not in text
    assert "a [2Jb[red]c" in text


def test_records_before_those_that_are_kept_are_counted():
    assert "17 earlier compiles are only in the table" in printed(capture(left_out=17))


def test_each_name_and_each_finding_leads_to_what_torch_wrote():
    pages = [Dump(each.pid, i, f"dumps/{i}.html") for each in RECORDS for i in each.compile_ids]
    text = printed(capture(dumps=pages))
    assert "  LlamaForCausalLM: 1/0 dumps/1/0.html, 1/1 dumps/1/1.html" in text
    found = text[text.index("LlamaForCausalLM compiled again once") :]
    assert found.index("1/1: dumps/1/1.html") < found.index("What torch wrote")
    assert "pip install tlparse" not in text
    logs = [dataclasses.replace(page, path="dumps/x.log") for page in pages]
    assert "pip install tlparse" in printed(capture(dumps=logs))


def test_lines_end_between_their_parts():
    parts = ["import 2.10 s (torch 2.00 s)", "language model 25.6 s", "other 0.6 s"]
    text = flowing(parts, " · ", 40)
    assert text == "import 2.10 s (torch 2.00 s) ·\n  language model 25.6 s · other 0.6 s"
    assert all(len(line) <= 40 for line in text.splitlines())
    assert flowing(parts, " · ", 1000) == " · ".join(parts)
    assert flowing(["x" * 100], " · ", 40) == "x" * 100


def test_a_table_by_component_is_as_narrow():
    table, left_out = cost_table(capture(MANY).totals, 50)
    assert left_out
    assert "seconds" in [column.header for column in table.columns]


def test_while_it_goes_on_what_compiles_now_is_no_ruin():
    begun = dataclasses.replace(CUT_OFF, is_running=True)
    text = printed(capture((), interrupted=(begun,), exit_code=None))
    assert "● VisionTower is compiling (building kernels) for 5.50 s" in text
    assert "nothing" not in text


def test_the_row_of_all_other_names_says_so():
    many = tuple(compiled(f"f{number}", number, 1.0) for number in range(70))
    text = printed(capture(many))
    assert "_other: all names after the first 64" in text
    assert "_other" not in printed(capture())


@pytest.mark.parametrize("width", [40, 60, 80])
def test_on_a_terminal_each_line_has_room(width):
    run = capture(
        (*MANY, compiled("視覚エンコーダー視覚エンコーダー視覚", 50, 4321.0, component="encoder"))
    )
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, no_color=True, highlight=False)
    terminal.report(run, console, "-o FILE has all")
    plain = re.sub(r"\x1b\[[\d;]*m", "", file.getvalue())
    assert [line for line in plain.splitlines() if cell_len(line.rstrip()) > width] == []
    assert "72 min 01 s" in plain


def test_what_compiles_now_is_one_line():
    begun = dataclasses.replace(CUT_OFF, name="Vision\nTower", start_ns=BEGAN_NS)
    assert now_line([]) is None
    said = now_line([begun, begun, begun])
    assert said.startswith("compilespan: Vision Tower (encoder) compiling for ")
    assert said.endswith(" (building kernels), 1 graph done, and 2 more")
