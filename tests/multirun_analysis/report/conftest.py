"""A real browser, where this machine has one: Debian's chromium, driven through its own driver."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from multirun_analysis import claims
from multirun_analysis.load import Study
from multirun_analysis.report import FILE, page

# Headless, by itself and silent: what it would ask of a network is not part of the page.
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Start chromium with a fresh profile; skip where it is not installed."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not driver:
        pytest.skip("no chromium with its chromedriver on this machine; apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = browser
    for flag in (*_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = Chrome(options=options, service=ChromeService(driver))
    found.set_page_load_timeout(120)
    found.set_script_timeout(60)
    try:
        yield found
    finally:
        found.quit()


@pytest.fixture(scope="session")
def page_url(mixed: Study, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write the page of the mixed study; its address as a local file."""
    path: Path = tmp_path_factory.mktemp("page") / FILE
    path.write_bytes(page(mixed, claims.published(), path.parent))
    return path.as_uri()
