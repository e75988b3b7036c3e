"""A page in headless Chromium: what it shows after some steps, driven by a script in a copy of it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: pages cannot be opened")

_DRIVER = """
const pause = (ms = 60) => new Promise((done) => setTimeout(done, ms));
const press = async (key) => {
  (document.activeElement ?? document.body).dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  await pause();
};
const all = (query) => [...document.querySelectorAll(query)];
const text = (query) => document.querySelector(query)?.textContent ?? null;
const until = async (test) => { for (let k = 0; k < 400 && !test(); k++) await pause(25); };
const begun = async () => {
  window.errors = [];
  addEventListener("securitypolicyviolation", (event) => errors.push(event.violatedDirective));
  await until(() => document.documentElement.dataset.ready || !document.querySelector("#warning").classList.contains("hidden"));
};
(async () => {
  await begun();
  let result;
  try { result = await (async () => { STEPS })(); } catch (error) { result = { failed: String(error.stack) }; }
  document.body.replaceChildren();
  document.body.dataset.result = JSON.stringify(result);
})();
"""


def result(page: Path, steps: str, *, size: str = "1300,900", folder: Path | None = None) -> Any:
    """What the steps, the body of an async function, return."""
    text = page.read_text(encoding="utf-8")
    driven = text.replace("script-src 'sha256", "script-src 'nonce-test' 'sha256", 1)
    script = f"<script nonce=test>{_DRIVER.replace('STEPS', steps)}</script></body>"
    copy = (folder or page.parent) / f"driven-{page.name}"
    copy.write_text(driven.replace("</body>", script), encoding="utf-8")
    dumped = _chromium("--dump-dom", "--virtual-time-budget=30000", f"--window-size={size}", copy.as_uri())
    found = re.search(r'<body[^>]* data-result="([^"]*)"', dumped)
    assert found, "the page came to no result"
    value = json.loads(html.unescape(found[1]))
    assert not isinstance(value, dict) or "failed" not in value, value
    return value


def _chromium(*arguments: str) -> str:
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions")
    done = subprocess.run([str(CHROMIUM), *flags, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
