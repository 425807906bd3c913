"""The page in real Chromium, against a real process."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
from server import Server

from captures import CUT_OFF, capture
from compilespan_service.capture.capture import Dump
from compilespan_service.reporters import html

pytestmark = pytest.mark.system

CHROMIUM = shutil.which("chromium")
if CHROMIUM is None and os.environ.get("CI") != "true":
    pytest.skip(
        "the page is tested in Chromium, which is not installed (Debian: apt install chromium)",
        allow_module_level=True,
    )

from axe_playwright_python.sync_playwright import Axe  # noqa: E402  # after the skip
from playwright.sync_api import expect, sync_playwright  # noqa: E402  # after the skip

SHOTS = Path(os.environ.get("COMPILESPAN_SCREENSHOTS", ".screenshots"))
WIDE = {"width": 1200, "height": 900}


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """Open the page of a server; console errors and requests elsewhere fail the test."""
    contexts, complaints = [], []

    def open_(server, *, allowed=(), viewport=WIDE, **options):
        context = chromium.new_context(viewport=viewport, **options)
        contexts.append(context)
        page = context.new_page()
        base = f"http://127.0.0.1:{server.port}/"

        def complain(text):
            # The server of a test ends before its page does.
            if not any(re.search(pattern, text) for pattern in (*allowed, "net::ERR_")):
                complaints.append(text)

        page.on("console", lambda m: m.type in ("error", "warning") and complain(m.text))
        page.on("pageerror", lambda error: complain(str(error)))
        page.on(
            "request",
            lambda r: r.url.startswith((base, "data:", "blob:")) or complain(f"asks {r.url}"),
        )
        page.goto(base)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def pages(hold, *arguments, **env):
    return Server("eager_targets:pages", *arguments, env={"HOLD": str(hold), **env})


def shot(page, name):
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def seconds(bar):
    """Return how long a bar is on the axis that it is drawn on, which is rescaled as it grows."""
    # In one step: the drawing is made anew four times a second.
    return bar.evaluate(
        """bar => {
          const [from, to] = bar.ownerSVGElement.querySelectorAll(".axis");
          const pixels = to.getAttribute("x") - from.getAttribute("x");
          return bar.getAttribute("width") / (pixels / parseFloat(to.textContent));
        }"""
    )


def bars(page):
    return page.locator("#timeline g[tabindex]")


def assert_the_start_is_shown(page):
    made_of = page.locator("#start-parts li")
    expect(made_of.filter(has_text="import")).to_have_count(1)
    expect(made_of.filter(has_text="waiting for POST /warmup")).to_have_count(1)
    expect(made_of.filter(has_text="encoder")).to_have_count(1)
    widths = page.eval_on_selector_all("#start-bar span", "all => all.map(e => e.style.width)")
    assert sum(float(width.rstrip("%")) for width in widths) == pytest.approx(100, abs=0.5)
    expect(page.locator("#start-imports")).to_contain_text("torch ")


def test_before_during_and_after_a_warmup(open_page, hold, tmp_path):
    arguments = ("--warmup", "on-request", "--state-dir", str(tmp_path / "state"))
    with pages(hold, *arguments) as server:
        server.wait_for(lambda: server.client.get("/startupz").status_code == 200)
        page = open_page(server)
        expect(page.locator("#verdict")).to_contain_text("○ Waiting for POST /warmup: ")
        expect(page.locator("#serving-text")).to_contain_text("It is not ready")
        shot(page, "cold")
        page.get_by_role("button", name="Warm up").click()
        expect(page.locator("#verdict")).to_contain_text("◐ Compiling LanguageModel for ")
        expect(page.locator("#verdict")).to_contain_text(", shape 3 of 3.")
        expect(page.get_by_role("button", name="Warming up …")).to_be_disabled()
        page.locator("#which").select_option(index=1)
        live = page.locator("#timeline g[aria-label^='LanguageModel'][aria-label*='going on']")
        # Marks appear when events arrive, not when the compile is over.
        expect(page.locator("#timeline .mark").filter(has_text="↻")).to_have_count(1)
        growing = live.locator("rect.bar")
        expect(growing).to_have_count(1)
        marks = page.locator("#timeline .mark")
        expect(marks.filter(has_text="▾")).to_have_count(1)
        expect(marks.filter(has_text="◆")).not_to_have_count(0)
        items = page.locator("#items tbody tr")
        expect(items).to_have_count(3)
        expect(items.nth(2)).to_contain_text('{"batch":3}')
        expect(items.nth(2)).to_contain_text("◐ compiling")
        expect(items.first).to_contain_text("ran, not verified yet")
        first_s = seconds(growing)
        page.wait_for_timeout(1200)
        assert seconds(growing) > first_s + 0.5  # the bar grows while it compiles
        shot(page, "warming")
        live.focus()
        hold.unlink()
        expect(page.locator("#verdict")).to_contain_text("● Ready after")
        # What was looked at while it went on is still looked at.
        expect(page.locator("#details h3")).to_have_text("LanguageModel")
        assert page.evaluate("document.activeElement.closest('#timeline') !== null")
        expect(page.locator("#verdict")).to_contain_text(", a start without a cache: ")
        expect(page.locator("#verdict")).to_contain_text("s compiling the encoder, ")
        expect(page.locator("#about")).to_contain_text("2 targets · torch 2.")
        expect(items.filter(has_text="● warm")).to_have_count(3)
        assert_the_start_is_shown(page)
        findings = page.locator("#findings > li")
        expect(findings.filter(has_text="compiled again")).to_have_count(1)
        expect(findings.first).to_contain_text("→ ")
        totals = server.client.get("/totals").json()
        for part, place in (("encoder", "#encoder"), ("language_model", "#language-model")):
            shown = page.locator(place)
            assert float(shown.get_attribute("title")) == totals[part]["compile_s"]
        page.get_by_role("button", name="Warm up").click()
        expect(page.get_by_role("alert")).to_contain_text("All is warm already")
        shot(page, "warm")


def test_details_by_keyboard_only(open_page, hold):
    hold.unlink()
    with pages(hold) as server:
        server.wait_for(lambda: server.client.get("/readyz").status_code == 200)
        page = open_page(server)
        expect(page.locator("#verdict")).to_contain_text("● Ready after")
        expect(bars(page).nth(3)).to_be_visible()
        for _ in range(12):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.closest('#timeline') !== null"):
                break
        else:
            pytest.fail("the timeline cannot be reached by Tab")
        # One tab stop for all bars.
        assert page.locator("#timeline [tabindex='0']").count() == 1
        page.keyboard.press("Home")
        seen = [page.locator("#details h3").inner_text()]
        for _ in range(bars(page).count() - 1):
            page.keyboard.press("ArrowRight")
            seen.append(page.locator("#details h3").inner_text())
        assert {"VisionTower", "LanguageModel"} <= set(seen)
        expect(page.locator("#details")).to_contain_text("component")
        page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(5000)  # a refresh does not take the focus away
        assert page.evaluate("document.activeElement.closest('#timeline') !== null")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('#timeline') === null")


def test_there_is_a_table_behind_each_picture(open_page, hold):
    hold.unlink()
    with pages(hold) as server:
        server.wait_for(lambda: server.client.get("/readyz").status_code == 200)
        page = open_page(server)
        expect(page.locator("#verdict")).to_contain_text("● Ready after")
        for summary in page.get_by_text("as a table").all():
            summary.click()
        records = server.client.get("/compiles").json()
        table = page.get_by_role("table", name="The start")
        for record in records:
            expect(table).to_contain_text(f"{record['duration_s']:.6f}")
        expect(page.get_by_role("table", name="Starts")).to_contain_text("running")


def test_a_failing_warmup_says_what_failed(open_page, hold, tmp_path):
    hold.unlink()
    flag = tmp_path / "fail"
    flag.write_text("")
    with pages(hold, FAIL=str(flag)) as server:
        server.wait_for(lambda: server.client.get("/startupz").status_code == 200)
        page = open_page(server)
        expect(page.get_by_role("alert")).to_contain_text("The warmup failed.")
        expect(page.get_by_role("alert")).to_contain_text("no kernel for three")
        (finding,) = [
            each for each in server.client.get("/findings").json() if each["code"] == "CS001"
        ]
        assert "RuntimeError: no kernel for three" in finding["evidence"]
        expect(page.locator("#verdict")).to_contain_text("✕ Not ready")
        expect(page.locator("#timeline g.failed")).to_have_count(1)
        row = server.client.get("/totals").json()["total"]
        failed = page.locator("#failed")
        assert float(failed.get_attribute("title").split()[0]) == row["failed_s"] > 0
        expect(page.locator("#items .failed")).to_have_text("✕ failed")
        expect(page.locator("#items")).to_contain_text("no kernel for three")
        shot(page, "failed")
        flag.unlink()
        page.get_by_role("button", name="Warm up").click()
        expect(page.locator("#verdict")).to_contain_text("● Ready after")
        expect(page.get_by_role("alert")).to_be_hidden()


def test_a_token_is_asked_for_and_a_wrong_one_again(open_page, hold):
    hold.unlink()
    with pages(hold, COMPILESPAN_TOKEN="s3cret") as server:
        server.wait_for(lambda: server.client.get("/readyz").status_code == 200)
        page = open_page(server, allowed=["401"])
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        shot(page, "locked")
        expect(page.locator("#encoder")).to_have_text("–")  # the shell holds no data
        page.get_by_role("textbox", name="Token").fill("wrong")
        page.keyboard.press("Enter")
        expect(dialog).to_contain_text("The token was not accepted")
        page.get_by_role("textbox", name="Token").fill("s3cret")
        page.keyboard.press("Enter")
        expect(page.locator("#verdict")).to_contain_text("● Ready after")
        expect(dialog).to_be_hidden()
        with page.expect_download() as download:
            page.get_by_role("link", name="download for Perfetto").click()
        assert "traceEvents" in Path(download.value.path()).read_text()


def test_a_server_that_goes_away_and_comes_back(open_page, hold, tmp_path):
    hold.unlink()
    arguments = ("--state-dir", str(tmp_path / "state"))
    with pages(hold, *arguments) as server:
        server.wait_for(lambda: server.client.get("/readyz").status_code == 200)
        page = open_page(server)
        expect(page.locator("#verdict")).to_contain_text("● Ready after")
        port = server.port
        server.stop(signal.SIGKILL)
        expect(page.locator("#verdict")).to_have_text("○ Not reachable.", timeout=15_000)
        expect(page.get_by_role("alert")).to_contain_text("asking again")
        assert page.locator("#language-model").inner_text() != "–"  # what was known stays
        shot(page, "gone")
    hold.write_text("")
    second = pages(hold, *arguments)
    second.port = port
    second.client.base_url = f"http://127.0.0.1:{port}"
    with second as server:
        expect(page.locator("#verdict")).to_contain_text("◐ ", timeout=60_000)
        server.wait_for(lambda: server.client.get("/totals").json()["in_progress"])
        page.wait_for_timeout(2500)
        server.stop(signal.SIGKILL)
    third = pages(hold, *arguments, "--warmup", "on-request")
    third.port = port
    third.client.base_url = f"http://127.0.0.1:{port}"
    with third:
        expect(page.locator("#starts .died").first).to_contain_text(
            "into LanguageModel", timeout=60_000
        )
        shot(page, "history")


def test_a_recompile_while_serving_is_told_with_what_the_warmup_missed(open_page):
    with Server("eager_targets:serves") as server:
        page = open_page(server)
        place = page.locator("#serving")
        expect(place).to_contain_text("Net compiled again", timeout=30_000)
        expect(place).to_contain_text("under POST /generate: tensor")
        expect(place).to_contain_text("size mismatch at index 0. expected 2, actual 5")
        expect(page.locator("#serving-count")).to_have_text("1 compile")
        found = page.locator("#findings > li").filter(has_text="while serving under POST /generate")
        expect(found).to_have_count(1)
        found.locator("summary").click()
        expect(found.locator("details p").first).to_be_visible()
        page.wait_for_timeout(5000)  # a refresh does not fold it
        expect(found.locator("details p").first).to_be_visible()


def test_kernels_that_are_built_while_serving_are_counted(open_page):
    with Server("eager_targets:builds_kernels") as server:
        page = open_page(server)
        place = page.locator("#serving-count")
        expect(place).to_have_text("2 kernels", timeout=30_000)
        row = server.client.get("/totals").json()["by_phase"]["serving"]
        assert (row["kernels"], row["compiles"]) == (2, 0)
        shot(page, "kernels")


@pytest.fixture(scope="module")
def warm_server(tmp_path_factory):
    """A server whose start shows everything: graphs, a break, a recompile, three items."""
    directory = tmp_path_factory.mktemp("warm")
    trace_url = "https://traces.example/explore?id={trace_id}&left={trace_id}"
    env = {"COMPILESPAN_TRACE_URL": trace_url}
    with pages(directory / "no-hold", "--state-dir", str(directory / "state"), **env) as server:
        server.wait_for(lambda: server.client.get("/readyz").status_code == 200)
        yield server


def ready(page):
    expect(page.locator("#verdict")).to_contain_text("● Ready after")
    expect(bars(page).nth(3)).to_be_visible()
    return page


def test_zoom_by_drag_and_by_keys(open_page, warm_server):
    page = ready(open_page(warm_server))
    axis = page.locator("#timeline .axis")
    whole = axis.all_text_contents()
    page.locator("#timeline").scroll_into_view_if_needed()
    box = page.locator("#timeline").bounding_box()
    y = box["y"] + box["height"] - 5
    page.mouse.move(box["x"] + box["width"] * 0.5, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, y, steps=4)
    expect(page.locator("#timeline .drag")).to_have_count(1)
    page.mouse.up()
    expect(page.locator("#timeline .drag")).to_have_count(0)
    zoomed = axis.all_text_contents()
    assert zoomed != whole
    page.wait_for_timeout(4500)  # a refresh does not show all of it again
    assert axis.all_text_contents() == zoomed
    page.get_by_role("button", name="show all of it").click()
    assert axis.all_text_contents() == whole
    expect(page.get_by_role("button", name="show all of it")).to_be_hidden()
    bars(page).last.focus()
    length = bars(page).last.locator("rect.bar").get_attribute("width")
    page.keyboard.press("+")
    page.keyboard.press("+")
    wider = bars(page).last.locator("rect.bar").get_attribute("width")
    assert float(wider) > float(length)
    page.keyboard.press("Escape")
    assert axis.all_text_contents() == whole


def test_pointing_moves_nothing(open_page, warm_server):
    page = ready(open_page(warm_server))
    page.wait_for_timeout(500)
    places = "() => [...document.querySelectorAll('section')].map(e => e.offsetTop)"
    details = page.locator("#details").inner_text()
    before = page.evaluate(places)
    for bar in bars(page).all():
        bar.hover(force=True)
    assert page.evaluate(places) == before
    assert page.locator("#details").inner_text() == details


def test_details_have_ids_to_copy_and_the_trace(open_page, warm_server):
    page = ready(open_page(warm_server))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#timeline g[aria-label^='VisionTower']").first.click(force=True)
    details = page.locator("#details")
    record = next(
        each
        for each in warm_server.client.get("/compiles").json()[::-1]
        if each["name"] == "VisionTower"
    )
    expect(details).to_contain_text(record["trace_id"])
    expect(details).to_contain_text("▾ graph break")
    expect(details).to_contain_text("graph_break()")  # torch's reason
    expect(details.get_by_role("link", name="open the trace")).to_have_attribute(
        "href", "https://traces.example/explore?id={0}&left={0}".format(record["trace_id"])
    )
    details.get_by_role("button", name="copy the trace id").click()
    assert page.evaluate("navigator.clipboard.readText()") == record["trace_id"]
    details.get_by_role("button", name="copy the compile ids").click()
    assert page.evaluate("navigator.clipboard.readText()") == ", ".join(record["compile_ids"])


def test_stages_lie_inside_their_bar_and_marks_below_it(open_page, warm_server):
    page = ready(open_page(warm_server))
    bars(page).last.focus()
    for _ in range(6):
        page.keyboard.press("+")
    group = bars(page).last
    assert group.locator(".stage").count() >= 2
    bar = group.locator("rect.bar").bounding_box()
    for stage in group.locator(".stage").all():
        box = stage.bounding_box()
        assert box["x"] >= bar["x"] - 1
        assert box["x"] + box["width"] <= bar["x"] + bar["width"] + 1
    page.keyboard.press("Escape")
    shapes = page.evaluate(
        """() => {
          const boxes = (all) => [...document.querySelectorAll(all)]
            .map((each) => each.getBoundingClientRect());
          return [boxes("#timeline rect.bar"), boxes("#timeline .mark")]
            .map((all) => all.map((b) => [b.left, b.right, b.top, b.bottom]));
        }"""
    )
    bar_boxes, marks = shapes
    assert marks
    for left, right, top, bottom in marks:
        for others in bar_boxes, [each for each in marks if each != [left, right, top, bottom]]:
            for other in others:
                apart = right <= other[0] or other[1] <= left
                # Two pixels of a letter's box are empty.
                assert apart or top >= other[3] - 2 or bottom <= other[2] + 2


def test_who_closes_the_dialog_is_not_asked_again_until_he_wants(open_page, hold):
    hold.unlink()
    with pages(hold, COMPILESPAN_TOKEN="s3cret") as server:
        page = open_page(server, allowed=["401"])
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(page.locator("#verdict")).to_contain_text("✕ Locked")
        page.wait_for_timeout(5000)
        expect(dialog).to_be_hidden()
        page.get_by_role("button", name="Enter the token").click()
        page.get_by_role("button", name="Cancel").click()
        expect(dialog).to_be_hidden()
        page.get_by_role("button", name="Enter the token").click()
        page.get_by_role("textbox", name="Token").fill("s3cret")
        page.keyboard.press("Enter")
        expect(page.locator("#verdict")).to_contain_text("Ready after", timeout=60_000)
        expect(page.get_by_role("button", name="Enter the token")).to_be_hidden()


def fed(page, name, change):
    """Answer an endpoint with what it answers, changed."""

    def handle(route):
        answer = route.fetch()
        route.fulfill(response=answer, json=change(answer.json()))

    page.route(f"**/{name}", handle)


def test_an_axis_beyond_a_minute_has_minutes(open_page, warm_server):
    page = ready(open_page(warm_server))
    for seconds, expected in ((130, "1 min 40 s"), (700, "6 min"), (4000, "1 min")):
        fed(page, "totals", lambda totals, s=seconds: {**totals, "ready_after_s": float(s)})
        page.reload()
        texts = page.locator("#timeline .axis")
        expect(texts.last).to_contain_text("min")
        found = texts.all_text_contents()
        assert all(re.fullmatch(r"0 s|\d+ s|\d+ min( \d+ s)?", each) for each in found), found
        assert expected in found or seconds == 4000


def test_a_long_path_leaves_room_for_what_was_found(open_page, warm_server):
    path = "/opt/conda/envs/serving/lib/python3.12/site-packages/transformers/models/m/modeling.py"
    page = open_page(warm_server)
    fed(page, "findings", lambda found: [{**each, "file": path * 2} for each in found])
    page.reload()
    expect(page.locator("#findings .where").first).to_contain_text("modeling.py")
    for what in page.locator("#findings .what").all():
        assert what.bounding_box()["width"] > 300


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_differs_from_the_servers_changes_nothing(open_page, warm_server, hours):
    page = open_page(warm_server)
    page.clock.install()
    page.clock.set_fixed_time(time.time() + hours * 3600)
    page.reload()
    ready(page)
    ready_s = warm_server.client.get("/totals").json()["ready_after_s"]
    covered = page.locator("#covered").inner_text()
    assert float(re.search(r" of ([\d.]+) s in bars", covered)[1]) == pytest.approx(
        ready_s, rel=0.01
    )


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_compile_in_progress_is_as_long_on_any_clock(open_page, hold, hours):
    with pages(hold) as server:
        server.wait_for(lambda: server.client.get("/totals").json()["in_progress"])
        page = open_page(server)
        page.clock.install(time=time.time() + hours * 3600)
        page.reload()
        expect(page.locator("#verdict")).to_contain_text("◐ Compiling")
        expect(page.locator("#timeline g[aria-label*='going on']")).to_have_count(1)
        covered = page.locator("#covered").inner_text()
        whole_s = float(re.search(r" of ([\d.]+) s in bars", covered)[1])
        age_s = server.client.get("/livez").json()["elapsed_s"]
        assert 1 < whole_s < age_s + 5


def test_what_is_said_of_a_server_that_is_gone_stays(open_page, hold):
    hold.unlink()
    with pages(hold) as server:
        server.wait_for(lambda: server.client.get("/readyz").status_code == 200)
        page = ready(open_page(server))
        server.stop(signal.SIGKILL)
        expect(page.locator("#verdict")).to_have_text("○ Not reachable.", timeout=15_000)
        page.set_viewport_size({"width": 900, "height": 700})
        page.locator("#which").select_option(index=1)
        expect(page.locator("#verdict")).to_have_text("○ Not reachable.")
        assert_no_violation(page)


def test_a_token_that_no_header_takes_is_not_accepted(open_page, hold):
    hold.unlink()
    with pages(hold, COMPILESPAN_TOKEN="s3cret") as server:
        page = open_page(server, allowed=["401"])
        for token in ("wr\u00f6ng \u2603", "two words"):
            page.get_by_role("textbox", name="Token").fill(token)
            page.keyboard.press("Enter")
            expect(page.get_by_role("dialog")).to_contain_text("The token was not accepted")
        assert_no_violation(page)


def test_keys_zoom_in_and_out_again(open_page, warm_server):
    page = ready(open_page(warm_server))
    bars(page).first.focus()
    whole = page.locator("#timeline .axis").all_text_contents()
    for _ in range(3):
        page.keyboard.press("+")
    (box,) = [bars(page).first.locator("rect.bar").bounding_box()]
    assert box["width"] > 3
    for _ in range(3):
        page.keyboard.press("-")
    assert page.locator("#timeline .axis").all_text_contents() == whole


def test_long_names_do_not_widen_the_page(open_page, warm_server):
    cut = {
        "name": "LlamaForConditionalGeneration.get_image_features.<locals>.forward" * 3,
        "is_encoder": False,
        "component": "language_model",
        "pid": 1,
        "graphs": 1,
        "started_at": "2026-03-02T10:40:00Z",
        "elapsed_s": 4.0,
        "stage": None,
    }
    page = open_page(warm_server, viewport={"width": 375, "height": 800})
    fed(page, "history", lambda starts: [{**each, "interrupted": [cut]} for each in starts])
    page.reload()
    expect(page.locator("#starts .died").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 768, 1200, 1920])
def test_it_is_readable(open_page, warm_server, scheme, width):
    page = ready(
        open_page(warm_server, viewport={"width": width, "height": 900}, color_scheme=scheme)
    )
    bars(page).last.focus()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CONTRAST) == []
    assert_no_violation(page)
    shot(page, f"{scheme}-{width}")


def test_it_is_readable_in_forced_colours_and_in_print(open_page, warm_server):
    page = ready(open_page(warm_server, forced_colors="active"))
    bar = page.locator("#start-bar span").first
    assert bar.evaluate("e => getComputedStyle(e).forcedColorAdjust") == "none"
    assert_no_violation(page)
    shot(page, "forced-colours")
    page.emulate_media(media="print", forced_colors="none")
    expect(page.get_by_role("button", name="Warm up")).to_be_hidden()
    expect(page.locator("#timeline svg")).to_be_visible()
    shot(page, "print")


def assert_no_violation(page):
    """What axe-core finds: WCAG, and what it recommends besides."""
    found = Axe().run(page).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_of_a_run_is_one_page_that_asks_nobody(chromium, tmp_path, scheme):
    file = tmp_path / "report.html"
    pages_of = [Dump(1, "1/1", "dumps/1.html")]
    run = capture(interrupted=(CUT_OFF,), unknown=("<b>x</b></script>",), dumps=pages_of)
    file.write_text(html.report(run), "utf-8")
    context = chromium.new_context(viewport=WIDE, color_scheme=scheme, offline=True)
    page = context.new_page()
    complaints, asked = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    expect(page.locator("#verdict")).to_contain_text(
        "✕ Ended with code 1 after 46.0 s, a cold start: 14.9 s compiling the encoder, "
        "25.6 s the language model"
    )
    expect(page.locator("#failed")).to_have_text("1.20 s")
    expect(page.locator("#findings > li")).to_have_count(3)
    expect(page.locator("#notice")).to_contain_text("<b>x</b></script>")
    expect(page.locator("#timeline .inside").first).to_have_text("kernels")
    page.locator("#timeline g[aria-label^='LlamaForCausalLM']").last.focus()
    expect(page.locator("#details")).to_contain_text("dumps/1.html")
    expect(page.locator("button", has_text="Warm up")).to_have_count(0)
    assert_no_violation(page)
    shot(page, f"report-{scheme}")
    assert complaints == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == 1
    context.close()


# Texts whose contrast against their background is under 4.5:1 (WCAG 2.2, 1.4.3).
CONTRAST = """() => {
  const rgb = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = (color) => {
    const [r, g, b] = rgb(color).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const backOf = (node) => {
    for (let each = node; each; each = each.parentElement) {
      const color = getComputedStyle(each).backgroundColor;
      if ((rgb(color)[3] ?? 1) > 0) return color;
    }
    return getComputedStyle(document.documentElement).backgroundColor;
  };
  const poor = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || node.closest("dialog, .mark, title, [hidden], noscript, button:disabled")) continue;
    const style = getComputedStyle(node);
    const front = node.closest("svg") ? style.fill : style.color;
    const [a, b] = [luminance(front), luminance(backOf(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push(`${node.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""
