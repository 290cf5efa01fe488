"""A Chromium for the tests, and a viewer that runs in a process of its own."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

CHROMIUM = os.environ.get("MICROTOMO_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--enable-unsafe-swiftshader", "--use-angle=swiftshader"]


@contextmanager
def chromium():
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install --no-install-recommends chromium")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def watched(browser, **options):
    """A page, and the list of what went wrong on it: errors, failed requests, and requests to other hosts."""
    page, troubles, hosts = browser.new_page(**options), [], set()
    page.on("console", lambda m: troubles.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: troubles.append(str(e)))
    page.on("requestfailed", lambda r: troubles.append(f"failed: {r.url}"))
    page.on("request", lambda r: hosts.add(r.url.split("/")[2] if r.url.startswith(("http", "ws")) else ""))
    try:
        yield page, troubles, hosts
    finally:
        page.close()


@contextmanager
def viewer(*words):
    """`microtomo view ... --browser` on a free port: the process and the address that it prints."""
    command = [sys.executable, "-m", "microtomo.cli.app", "view", *map(str, words), "--browser", "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http://"), process.stderr.read()
        yield process, address
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
        process.stdout.close()
        process.stderr.close()
