"""What the journals of a run lack, and why, so that a gap does not look like a result."""

from __future__ import annotations

import os
import pwd
import re
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from compilespan.process import INSTANCE_ID
from compilespan.process.descendants import descendants

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from compilespan.journal.reader import ProcessJournal

_UID = re.compile(rb"^Uid:\s+\d+\s+(\d+)", re.MULTILINE)
_MAX_STRANGERS = 64
_GRACE_S = 0.5
_OTHERS_WRITE = stat.S_IWOTH | stat.S_IXOTH


class Stranger(NamedTuple):
    """A process that another user runs."""

    program: str
    user: str


class Strangers:
    """Descendants of a process that run as another user; they may be unable to write a journal."""

    def __init__(self) -> None:
        self.seen: dict[int, Stranger] = {}

    def look(self, pid: int) -> None:
        """Record the current descendants of ``pid`` that run as another user."""
        for process in descendants(pid):
            with suppress(OSError, AttributeError):
                found = _UID.search((process / "status").read_bytes())
                uid = int(found[1]) if found is not None else os.geteuid()
                if uid != os.geteuid() and len(self.seen) < _MAX_STRANGERS:
                    program = (process / "comm").read_text("utf-8", "replace").strip()
                    self.seen[int(process.name)] = Stranger(program, _user(uid))


def unknown(
    state: Path,
    processes: Sequence[ProcessJournal],
    strangers: Mapping[int, Stranger],
    *,
    instance: str,
    is_over: bool,
) -> list[str]:
    """Return a sentence for each gap in the record of the run.

    Args:
        state: The state directory of the run.
        processes: Journals that were read there.
        strangers: Processes of other users, by pid.
        instance: Id of the run.
        is_over: Whether the program has ended.
    """
    known = {process.process["pid"] for process in processes}
    said = list(_without_journal(state, known, is_over=is_over))
    said += [
        f"process {pid} ({each.program}) ran as user {each.user}, and no journal of it was "
        "written: what torch compiled in it is not known"
        for pid, each in strangers.items()
        # If others can write there, name only processes that could have run torch: Python.
        if pid not in known and ("python" in each.program or not _is_open_to_others(state))
    ]
    said += [
        f"the journal of process {process.process['pid']} is incomplete: some of it could not "
        "be written or read"
        for process in processes
        if not process.is_complete or process.dropped.get("journal")
    ]
    if is_over and (pids := _going_on(instance)):
        time.sleep(_GRACE_S)  # helper processes end a moment after the program
        said += [
            f"process {pid} still runs: what it compiles from now on is not recorded here"
            for pid in sorted(pids & _going_on(instance))
        ]
    if not state.is_dir():
        said.append(f"the state directory {state} was removed: the records of the run are lost")
    return said


def _is_open_to_others(state: Path) -> bool:
    """Whether other users can write journals in the directory."""
    with suppress(OSError):
        return state.stat().st_mode & _OTHERS_WRITE == _OTHERS_WRITE
    return False


def _going_on(instance: str) -> set[int]:
    """Return the processes with this instance in their environment; a launcher may end first."""
    mark = f"{INSTANCE_ID}={instance}".encode()
    found = set()
    with suppress(OSError):
        for process in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.add(int(process.name))
    return found


def _without_journal(state: Path, known: set[int], *, is_over: bool) -> Iterable[str]:
    for path in sorted(state.glob("seen-*")):
        pid = path.name.removeprefix("seen-")
        with suppress(OSError):
            found = path.read_text("utf-8")
            if found.startswith("missing:"):
                where = found.removeprefix("missing:")
                yield (
                    f"torch was imported in a Python without compilespan ({where}); install it "
                    "there: pip install compilespan"
                )
            elif is_over and pid.isdecimal() and int(pid) not in known:
                yield (
                    f"process {pid} ran torch, but its journal could not be written (see its "
                    "output): what it compiled is not known"
                )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
