"""Pages of ours in a real browser: Debian's Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
in_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@contextmanager
def browsing(*flags: str) -> Iterator[Browser]:
    """Chromium without a window. While it is open, no kernel can be started from the same thread."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *flags])
        try:
            yield chromium
        finally:
            chromium.close()


def opened(browser: Browser, path: Path, **options: Any) -> Page:
    """A file in a new context of the browser; ``options`` are those of ``Browser.new_context``."""
    sheet = browser.new_context(**options).new_page()
    sheet.goto(path.as_uri())
    return sheet
