"""Draws the dashboards without Grafana: ``python tests/grafana/pictures/draw.py [state …]``.

A real Prometheus holds a start that is made up (../starts.py) and answers the dashboards' queries;
Grafana's own code turns the answers into what is shown, and Chromium draws it (panels.jsx says what
is Grafana's). The pictures of docs/dashboards.md come from here; without a state, those two.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(ROOT), *(str(ROOT / "tests" / each) for each in ("grafana", "system", ""))]

import boards  # noqa: E402
import tempo  # noqa: E402
from PIL import Image  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from prometheus import PROMTOOL, Prometheus  # noqa: E402
from starts import (  # noqa: E402
    COLD,
    COMPILING,
    FAILED,
    KILLED,
    MINUTES,
    READY,
    WARM,
    WORKERS,
    Process,
    slow,
    values,
)
from test_spans import compiles  # noqa: E402

STATES = {
    "slow": ([slow()], "first"),
    "compiling": ([COMPILING], "first"),
    "ready": ([READY], "first"),
    "failed": ([Process().compiled(1.2, **FAILED).compiles_for(0)], "first"),
    "killed": ([KILLED], "first"),
    "restarted": ([COLD, WARM], "warm"),
    "workers": (WORKERS, "first"),
}
FOR_DOCS = {"slow": ["compile-time"], "compiling": ["compile-time"]}
STEP_S = 60


def write(processes, directory, now_s):
    """Write what the processes said in the ten minutes before now into a database."""
    began_s = now_s - MINUTES * STEP_S
    samples = []
    for series in (each for process in processes for each in process.series):
        for minute, value in enumerate(values(series["values"])[: MINUTES + 1]):
            if value is not None:
                moves = series["series"].startswith("compilespan_startup_began")
                said = value + began_s if moves else value
                samples.append((series["series"], began_s + minute * STEP_S, said))
    lines = [f"{series} {said} {time_s}" for series, time_s, said in sorted(samples)]
    (directory / "said.om").write_text("\n".join([*lines, "# EOF\n"]))
    blocks = ["tsdb", "create-blocks-from", "openmetrics", "said.om", "data"]
    subprocess.run([PROMTOOL, *blocks], cwd=directory, check=True, stdout=subprocess.DEVNULL)


def frames_of(panel, ask, traces):
    """Return what Grafana's data sources make of the answers to a panel's queries."""
    targets = panel.get("targets", [])
    if panel["type"] == "table" and "query" in targets[0]:
        fields = tempo.frame(targets[0], traces)
        return [{"refId": "A", "fields": fields}] if fields else []
    if panel["type"] not in ("stat", "table", "barchart"):
        return []
    answers = {each["refId"]: (each, ask(each["expr"])) for each in targets}
    if not any(answer for _, answer in answers.values()):
        return []
    return [
        frame
        for ref, (target, answer) in answers.items()
        for frame in (
            numbers(ref, answer, target["legendFormat"])
            if target["format"] == "time_series"
            else [rows(ref, answer, is_only=len(targets) == 1)]
        )
    ]


def numbers(ref, answer, legend):
    """Yield a frame for each series."""
    for labels, value in answer:
        shown = legend
        for name, said in labels.items():
            shown = shown.replace(f"{{{{{name}}}}}", said)
        config = {"displayNameFromDS": shown} if shown else {}
        number = {"name": "Value", "type": "number", "values": [value], "config": config}
        yield {"refId": ref, "fields": [number]}


def rows(ref, answer, *, is_only):
    """Return a table of the series."""
    names = sorted({name for labels, _ in answer for name in labels})
    texts = [
        {"name": name, "type": "string", "values": [labels.get(name, "") for labels, _ in answer]}
        for name in names
    ]
    time_field = {"name": "Time", "type": "time", "values": [0] * len(answer)}
    value = {"name": "Value" if is_only else f"Value #{ref}", "type": "number"}
    value["values"] = [each for _, each in answer]
    return {"refId": ref, "fields": [time_field, *texts, value]}


def build(board, state, mode):
    """Return what the page draws."""
    processes, start = STATES[state]
    now_s = int(time.time()) // STEP_S * STEP_S
    traces = {} if state == "compiling" else {"a" * 32: compiles(14)}
    menu = next(each for each in board["templating"]["list"] if each["name"] == "start")
    starts = menu["query"]["query"].removeprefix("query_result(").removesuffix(")")
    with tempfile.TemporaryDirectory() as name:
        write(processes, Path(name), now_s)
        with Prometheus(Path(name)) as prometheus:

            def ask(expression):
                return prometheus.query(boards.filled_in(expression, start=start), now_s)

            (said,) = [
                labels["said"]
                for labels, _ in ask(starts)
                if labels["compilespan_instance_id"] == start
            ]
            panels = [
                {"panel": each, "frames": frames_of(each, ask, traces)} for each in board["panels"]
            ]
    variables = [["Service", "llava"], ["Start", said]]
    return {"title": board["title"], "variables": variables, "panels": panels, "mode": mode}


def bundle(directory):
    """Install Grafana's component library, once, and bundle the page's program."""
    if not (HERE / "node_modules").is_dir():
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
        subprocess.run(["npm", "install", "--legacy-peer-deps", *options], cwd=HERE, check=True)
    loaders = [f"--loader:.{each}=dataurl" for each in ("svg", "woff2", "ttf")]
    environment = {"NODE_ENV": '"production"', "JEST_WORKER_ID": "0"}
    defined = [f"--define:process.env.{name}={said}" for name, said in environment.items()]
    (esbuild,) = HERE.glob("node_modules/@esbuild/*/bin/esbuild")
    made = ["panels.jsx", "--bundle", f"--outfile={directory}/panels.js", "--log-level=error"]
    subprocess.run([esbuild, *made, *loaders, *defined], cwd=HERE, check=True)


def draw(browser, directory, board, picture, *, whole):
    """Take a picture of a board, of its first screen or of all of it."""
    told = json.dumps(board).replace("</", "<\\/")
    page_file = directory / "page.html"
    page_file.write_text(
        f'<div id="root"></div><script>window.BOARD = {told}</script>'
        '<script src="panels.js"></script>'
    )
    page = browser.new_page(viewport={"width": 1456, "height": 780})
    page.goto(page_file.as_uri())
    page.wait_for_timeout(2000)
    page.screenshot(path=picture, full_page=whole)
    page.close()
    Image.open(picture).quantize(128).save(picture, optimize=True)
    sys.stdout.write(f"{picture}\n")


def main(states):
    """Draw both boards in these states, or the pictures of the documentation."""
    target = ROOT / (".screenshots" if states else "docs/pictures")
    target.mkdir(exist_ok=True)
    chosen = dict.fromkeys(states, boards.DASHBOARDS) if states else FOR_DOCS
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        bundle(name)
        options = {"executable_path": "/usr/bin/chromium", "args": ["--no-sandbox"]}
        browser = playwright.chromium.launch(**options)
        for state, names in chosen.items():
            for board in names:
                told = build(boards.DASHBOARDS[board], state, "dark")
                picture = target / f"grafana-{state}-{board}.png"
                draw(browser, Path(name), told, picture, whole=bool(states))


if __name__ == "__main__":
    main(sys.argv[1:])
