"""A whole installation with Prefect's own UI, and a person's browser in front of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser.prefect_ui import PATIENCE, PrefectUI
from tests.e2e.conftest import ROOT, Installation
from tests.e2e.prefect_api import Prefect

expect.set_options(timeout=PATIENCE)
CHROMIUM = Path("/usr/bin/chromium")
STEP_TO_TAKE = "there is no /usr/bin/chromium: install Debian's (apt-get install chromium), as the README says"
# Nothing but the page: no calls home, no profile of anybody's. As root Chromium starts without its sandbox alone.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def browser_installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One of its own: what stands in its Prefect is what the pictures show."""
    if not CHROMIUM.exists():
        pytest.fail(STEP_TO_TAKE)
    parts = Installation(tmp_path_factory.mktemp("installation"), overlap="24h", proxy="stand-in")
    try:
        parts.start_provider()
        parts.start_vault()
        parts.start_aws()
        parts.write_configuration()
        parts.config = parts.edited("impatient", ('"model": "gpt-4o"', '"model": "gpt-4o", "propagation": "1s"'))
        parts.environ["KEYTURN_CONFIG"] = str(parts.config)
        parts.start_members(drain="0s")
        # The UI's files are copied to where it may write, and are told where the API is by PREFECT_UI_API_URL.
        parts.start_prefect("INFO", settings={"PREFECT_UI_STATIC_DIRECTORY": str(parts.folder / "ui")})
        parts.start_worker(ROOT)
        yield parts
    finally:
        parts.stop()


@pytest.fixture
def page(browser_installation: Installation, tmp_path: Path) -> Iterator[Page]:
    """A new profile each time. What the browser asks of anybody else than Prefect is refused, and fails the test."""
    elsewhere: list[str] = []
    own = (browser_installation.prefect_url, "data:", "blob:")
    with sync_playwright() as play:
        context = play.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=CHROMIUM,
            args=FLAGS,
            headless=True,
            viewport={"width": 1100, "height": 900},
            timezone_id="UTC",
        )
        context.set_default_timeout(PATIENCE)
        context.on("request", lambda request: None if request.url.startswith(own) else elsewhere.append(request.url))
        yield context.pages[0]
        context.close()
    assert elsewhere == []


@pytest.fixture
def ui(page: Page, browser_installation: Installation) -> PrefectUI:
    folder = os.environ.get("KEYTURN_SCREENSHOTS")
    api = Prefect(browser_installation)
    return PrefectUI(page, browser_installation.prefect_url, api, Path(folder) if folder else None)
