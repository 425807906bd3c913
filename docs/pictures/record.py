"""Record a terminal as an animated SVG: ``python docs/pictures/record.py`` writes terminal.svg.

Runs ``compilespan run python serve.py`` (docs/examples/serve.py) with an empty compile cache in a
pseudo-terminal. Time between two frames is divided by ``SPEED``; the last frame stays for
``HOLD_S``. Viewers that do not animate, or prefer reduced motion, show the last frame.
"""

from __future__ import annotations

import html
import os
import pty
import select
import struct
import sys
import tempfile
import termios
import time
from fcntl import ioctl
from itertools import groupby
from pathlib import Path

import pyte

HERE = Path(__file__).parent
COLUMNS, ROWS = 110, 38
SPEED, HOLD_S = 4.0, 20.0
FRAME_S = 0.5  # a frame at most so often, in the program's time
CELL_W, CELL_H = 8.4, 18.0
PROMPT = "$ compilespan run python serve.py\r\n"
# The colours of a common dark theme; `default` is the foreground.
COLOURS = {
    "default": "#d4d8e0",
    "black": "#6b7280",
    "red": "#f47c7c",
    "green": "#7fd48a",
    "brown": "#e5c07b",
    "blue": "#79aef5",
    "magenta": "#d2a0f0",
    "cyan": "#62cbd6",
    "white": "#f2f4f8",
}

Line = tuple[tuple[str, str, bool, int], ...]  # runs: text, colour, bold, column
Frame = tuple[Line, ...]


def record(command: list[str], directory: Path, env: dict[str, str]) -> list[tuple[float, Frame]]:
    """Run a command in a pseudo-terminal; return its screens with the second each appeared."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    stream.feed(PROMPT.encode())
    frames = [(0.0, _frame(screen))]
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(directory)
        os.execvpe(command[0], command, env)
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    began = time.monotonic()
    while True:
        select.select([terminal], [], [], 60)
        try:
            data = os.read(terminal, 65536)
        except OSError:  # Linux reports the end of a terminal like this
            break
        stream.feed(data)
        now_s, frame = time.monotonic() - began, _frame(screen)
        if now_s - frames[-1][0] >= FRAME_S and frame != frames[-1][1]:
            frames.append((now_s, frame))
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit("the recorded command failed:\n" + "\n".join(screen.display))
    frames.append((time.monotonic() - began, _frame(screen)))
    return frames


def _frame(screen: pyte.Screen) -> Frame:
    lines = []
    for row in range(screen.lines):
        cells = [(column, screen.buffer[row][column]) for column in range(screen.columns)]
        runs = []
        for (colour, bold), group in groupby(cells, lambda cell: (cell[1].fg, cell[1].bold)):
            run = list(group)
            text = "".join(cell.data for _, cell in run)
            if text.strip():
                start = run[0][0] + len(text) - len(text.lstrip())
                runs.append((text.strip(), COLOURS.get(colour, "#" + colour), bold, start))
        lines.append(tuple(runs))
    while lines and not lines[-1]:
        lines.pop()
    return tuple(lines)


def svg(frames: list[tuple[float, Frame]]) -> str:
    """Draw frames over one another; each is visible for its share of the loop."""
    begins = [at / SPEED for at, _ in frames]
    loop_s = begins[-1] + HOLD_S
    rows = max(len(frame) for _, frame in frames)
    width, height = COLUMNS * CELL_W + 32, rows * CELL_H + 32
    styles, groups = [], []
    for index, (_, frame) in enumerate(frames):
        last = index == len(frames) - 1
        ends = loop_s if last else begins[index + 1]
        on, off = 100 * begins[index] / loop_s, 100 * ends / loop_s
        styles.append(
            f"@keyframes f{index}{{0%,{on:.3f}%{{opacity:0}}{on:.3f}%,{off:.3f}%{{opacity:1}}"
            f"{off:.3f}%,100%{{opacity:{int(last)}}}}}"
            f".f{index}{{opacity:{int(last)};animation:f{index} {loop_s:.2f}s step-end infinite}}"
        )
        groups.append(f'<g class="f{index}">{"".join(_texts(frame))}</g>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img">'
        "<title>compilespan run python serve.py</title>"
        "<style>text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',"
        f"monospace;white-space:pre}}{''.join(styles)}"
        "@media (prefers-reduced-motion:reduce){g{animation:none!important}}</style>"
        f'<rect width="100%" height="100%" rx="8" fill="#171a21"/>{"".join(groups)}</svg>\n'
    )


def _texts(frame: Frame) -> list[str]:
    return [
        f'<text x="{16 + column * CELL_W:.1f}" y="{30 + row * CELL_H:.0f}" fill="{colour}" '
        f'font-weight="{"bold" if bold else "normal"}" textLength="{len(text) * CELL_W:.1f}" '
        f'lengthAdjust="spacingAndGlyphs">{html.escape(text)}</text>'
        for row, line in enumerate(frame)
        for text, colour, bold, column in line
    ]


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        (directory / "serve.py").write_bytes((HERE.parent / "examples/serve.py").read_bytes())
        env = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "TERM": "xterm-256color",
            "TORCHINDUCTOR_CACHE_DIR": str(directory / "cache"),
        }
        frames = record(["compilespan", "run", "python", "serve.py"], directory, env)
    (HERE / "terminal.svg").write_text(svg(frames), encoding="utf-8")
    print(f"terminal.svg: {len(frames)} frames of {frames[-1][0]:.1f} s")


if __name__ == "__main__":
    main()
