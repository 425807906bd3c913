"""Photograph the page: ``python docs/pictures/page.py`` writes docs/page.png.

Starts ``compilespan serve`` with the demo three times on one state directory: the first start is
cold, the others are warm. The picture shows the last one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET = Path(__file__).parents[1] / "page.png"
PORT = 8917
URL = f"http://127.0.0.1:{PORT}"


@contextmanager
def served(directory: Path) -> Iterator[None]:
    """Serve the demo until it is ready, then during the block."""
    program = Path(sys.executable).parent / "compilespan"
    process = subprocess.Popen(
        [program, "serve", "--port", str(PORT), "--state-dir", directory / "state"],
        env=os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(directory / "cache")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{URL}/readyz").close()
            except OSError:
                time.sleep(0.2)
            else:
                break
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def photograph() -> None:
    """Write the picture of the page as it is now."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        page.goto(URL)
        page.wait_for_timeout(3000)  # the page asks once a second
        page.screenshot(path=TARGET, full_page=True)
        browser.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        for _ in range(2):
            with served(directory):
                pass
        with served(directory):
            photograph()


if __name__ == "__main__":
    main()
