"""``python -m tests.faults.quiet_page FILE…`` opens pages in Chromium and prints as JSON what was heard of them.

Every name and address leads to this machine, so that whoever asks for anything sends packets on loopback.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from tests.chromium import browsing
from tests.faults.offline import packets

# The browser's own updater must find nobody, or its packets would count.
RULES = "MAP *.googleapis.com ~NOTFOUND, MAP *.google.com ~NOTFOUND, MAP * 127.0.0.1"
NOWHERE = f"--host-resolver-rules={RULES}"

_TRIPWIRE = """
window.tripped = [];
for (const name of ["alert", "confirm", "prompt", "print", "open", "fetch"])
  window[name] = () => { window.tripped.push(name); };
"""
_POKE = """
for (const element of document.querySelectorAll("*")) {
  for (const kind of ["mouseover", "focus", "toggle", "error", "load"])
    element.dispatchEvent(new Event(kind));
  if (/^\\s*javascript:/i.test(element.getAttribute("href") ?? ""))
    element.click();
}
"""


def heard(browser: Browser, path: Path, *, bypass_csp: bool) -> dict[str, Any]:
    """What a page did while it was opened and every element of it was touched."""
    context = browser.new_context(bypass_csp=bypass_csp)
    context.add_init_script(_TRIPWIRE)
    sheet = context.new_page()
    told: list[str] = []
    sheet.on("console", lambda message: told.append(f"console: {message.text}"))
    sheet.on("pageerror", lambda error: told.append(f"error: {error}"))
    sheet.on("dialog", lambda dialog: (told.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    sheet.on("request", lambda request: told.append(f"request: {request.url}"))
    sheet.goto(path.as_uri(), wait_until="load")
    sheet.evaluate(_POKE)
    sheet.wait_for_timeout(60)
    about = {
        "told": [
            text
            for text in told
            if text != f"request: {path.as_uri()}" and not text.startswith("request: data:")
        ],
        "tripped": sheet.evaluate("window.tripped"),
        "scripts": sheet.evaluate("[...document.scripts].map(script => script.outerHTML)"),
        "title": sheet.title(),
        "address": sheet.url,
    }
    context.close()
    return about


def main() -> None:
    with browsing(NOWHERE) as browser:
        found = {
            f"{path} {bypass}": heard(browser, Path(path), bypass_csp=bypass)
            for path in sys.argv[1:]
            for bypass in (False, True)
        }
    print(json.dumps({"pages": found, "packets": packets(Path("/proc/net/dev").read_text())}))


if __name__ == "__main__":
    main()
