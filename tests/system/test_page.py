"""The page in real Chromium, against a real process."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from server import Server

pytestmark = pytest.mark.system

CHROMIUM = shutil.which("chromium")
if CHROMIUM is None and os.environ.get("CI") != "true":
    pytest.skip(
        "the page is tested in Chromium, which is not installed (Debian: apt install chromium)",
        allow_module_level=True,
    )

from playwright.sync_api import expect, sync_playwright  # noqa: E402  # after the skip

SHOTS = Path(os.environ.get("COMPILESPAN_SCREENSHOTS", ".screenshots"))
WIDE = {"width": 1200, "height": 900}
PHONE = {"width": 375, "height": 800}


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


def test_before_during_and_after_a_warmup(open_page, hold, tmp_path):
    arguments = ("--warmup", "on-request", "--state-dir", str(tmp_path / "state"))
    with pages(hold, *arguments) as server:
        server.wait_for(lambda: server.client.get("/startupz").status_code == 200)
        page = open_page(server)
        expect(page.locator("#readiness")).to_have_text("○ cold: nothing is warmed up yet")
        expect(page.locator("#share-text")).to_have_text("nothing was compiled yet")
        shot(page, "cold")
        page.get_by_role("button", name="Warm up").click()
        expect(page.locator("#readiness")).to_contain_text("warming up")
        expect(page.locator("#readiness")).to_contain_text(": compiling ")
        expect(page.get_by_role("button", name="Warming up …")).to_be_disabled()
        page.locator("#which").select_option(index=1)
        live = page.locator("#timeline g[aria-label^='LanguageModel'][aria-label*='going on']")
        # Marks appear when events arrive, not when the compile is over.
        expect(live.locator(".mark").filter(has_text="↻")).to_have_count(1)
        growing = live.locator("rect")
        expect(growing).to_have_count(1)
        marks = page.locator("#timeline .mark")
        expect(marks.filter(has_text="▾")).to_have_count(1)
        assert marks.filter(has_text="◆").count() >= 2
        first_s = seconds(growing)
        page.wait_for_timeout(1200)
        assert seconds(growing) > first_s + 0.5  # the bar grows while it compiles
        shot(page, "warming")
        hold.unlink()
        expect(page.locator("#readiness")).to_contain_text("● ready after")
        expect(page.locator("#readiness")).to_contain_text(", without a cache")
        expect(page.locator("#share-text")).to_contain_text("% encoder")
        made_of = page.locator("#start-parts li")
        expect(made_of.filter(has_text="import")).to_have_count(1)
        expect(made_of.filter(has_text="waiting for POST /warmup")).to_have_count(1)
        expect(made_of.filter(has_text="encoder")).to_have_count(1)
        widths = page.eval_on_selector_all("#start-bar span", "all => all.map(e => e.style.width)")
        assert sum(float(width.rstrip("%")) for width in widths) == pytest.approx(100, abs=0.5)
        expect(page.locator("#start-imports")).to_contain_text("torch ")
        findings = page.locator("#findings > li")
        expect(findings.filter(has_text="compiled again")).to_have_count(1)
        expect(findings.first).to_contain_text("→ ")
        expect(bars(page).filter(has_text="↻")).to_have_count(1)
        totals = server.client.get("/totals").json()
        for part, place in (("encoder", "#encoder"), ("language_model", "#language-model")):
            shown = page.locator(place)
            assert float(shown.get_attribute("title")) == totals[part]["compile_s"]
        assert page.locator("#encoder").inner_text().endswith(" s")
        page.get_by_role("button", name="Warm up").click()
        expect(page.get_by_role("alert")).to_contain_text("All is warm already")
        shot(page, "warm")


def test_details_by_keyboard_only(open_page, hold):
    hold.unlink()
    with pages(hold) as server:
        server.wait_for(lambda: server.client.get("/readyz").status_code == 200)
        page = open_page(server)
        expect(page.locator("#readiness")).to_contain_text("● ready after")
        expect(bars(page).nth(3)).to_be_visible()
        for _ in range(12):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.closest('#timeline') !== null"):
                break
        else:
            pytest.fail("the timeline cannot be reached by Tab")
        seen = [page.locator("#details h3").inner_text()]
        for _ in range(bars(page).count() - 1):
            page.keyboard.press("ArrowRight")
            seen.append(page.locator("#details h3").inner_text())
        assert {"VisionTower", "LanguageModel"} <= set(seen)
        expect(page.locator("#details")).to_contain_text("component")
        page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(5000)  # a refresh does not take the focus away
        assert page.evaluate("document.activeElement.closest('#timeline') !== null")


def test_there_is_a_table_behind_each_picture(open_page, hold):
    hold.unlink()
    with pages(hold) as server:
        server.wait_for(lambda: server.client.get("/readyz").status_code == 200)
        page = open_page(server)
        expect(page.locator("#readiness")).to_contain_text("● ready after")
        for summary in page.get_by_text("as a table").all():
            summary.click()
        records = server.client.get("/compiles").json()
        table = page.get_by_role("table").first
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
        expect(page.locator("#readiness")).to_contain_text("✕ not ready")
        expect(page.locator("#timeline g.failed")).to_have_count(1)
        shot(page, "failed")
        flag.unlink()
        page.get_by_role("button", name="Warm up").click()
        expect(page.locator("#readiness")).to_contain_text("● ready after")
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
        expect(page.locator("#readiness")).to_contain_text("● ready after")
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
        expect(page.locator("#readiness")).to_contain_text("● ready after")
        port = server.port
        server.stop(signal.SIGKILL)
        expect(page.locator("#readiness")).to_have_text("○ not reachable", timeout=15_000)
        expect(page.get_by_role("alert")).to_contain_text("asking again")
        assert page.locator("#language-model").inner_text() != "–"  # what was known stays
        shot(page, "gone")
    hold.write_text("")
    second = pages(hold, *arguments)
    second.port = port
    second.client.base_url = f"http://127.0.0.1:{port}"
    with second as server:
        expect(page.locator("#readiness")).to_contain_text("warming up", timeout=60_000)
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
        expect(page.locator("#serving-count")).to_have_text("1 recompile")
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_it_is_readable(open_page, hold, scheme, viewport):
    hold.unlink()
    with pages(hold) as server:
        server.wait_for(lambda: server.client.get("/readyz").status_code == 200)
        page = open_page(server, viewport=viewport, color_scheme=scheme)
        expect(page.locator("#readiness")).to_contain_text("● ready after")
        bars(page).last.focus()
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        poor = page.evaluate(CONTRAST)
        assert poor == []
        shot(page, f"{scheme}-{viewport['width']}")


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
    if (!own || node.closest("dialog, .mark, [hidden], noscript, button:disabled")) continue;
    const style = getComputedStyle(node);
    const front = node.closest("svg") ? style.fill : style.color;
    const [a, b] = [luminance(front), luminance(backOf(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push(`${node.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""
