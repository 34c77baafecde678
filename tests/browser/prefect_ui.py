"""Prefect's UI as a person uses it: by what is written on it, wherever it tells a name or a role."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Locator, Page, expect

from tests.e2e.prefect_api import Prefect, until

PATIENCE = 120_000  # milliseconds: a run is a process of its own, and the machine may be busy


@dataclass
class PrefectUI:
    """`screenshots`: the folder that pictures go to; None: none are taken."""

    page: Page
    url: str
    api: Prefect
    screenshots: Path | None = None

    def open_form(self, flow: str) -> None:
        """From the list of deployments, by its Run button."""
        self.page.goto(f"{self.url}/deployments")
        row = self.page.get_by_role("row").filter(has=self.page.get_by_role("link", name=flow, exact=True))
        row.get_by_role("link", name="keyturn", exact=True).click()
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_text("Custom run").click()

    def field(self, name: str) -> Locator:
        label = self.page.locator(".schema-form-property__label").get_by_text(name)
        return self.page.locator(".schema-form-property").filter(has=label)

    def choose(self, name: str, value: str) -> list[str]:
        """Choose one, and say which were offered."""
        # By the keyboard: its list opens on focus, and a click would close it again.
        self.field(name).locator(".p-select-button__control").press("ArrowDown")
        options = self.page.get_by_role("option")
        expect(options.first).to_be_visible()
        offered = options.all_inner_texts()
        self.page.get_by_role("option", name=value, exact=True).click()
        return offered

    def write(self, name: str, text: str) -> None:
        """Into a field that may also be left empty: first that there is to be a value."""
        self.field(name).get_by_role("button", name="str", exact=True).click()
        self.field(name).get_by_role("textbox").fill(text)

    def switch_on(self, name: str) -> None:
        self.field(name).get_by_role("switch").click()
        expect(self.field(name).get_by_role("switch")).to_be_checked()

    def submit(self) -> str:
        """Start it, and look at its run; the id of that."""
        self.page.get_by_role("button", name="Submit").click()
        # By the keyboard: the note that bears it slides in and soon out again.
        self.page.get_by_role("button", name="View run").first.press("Enter")
        self.page.wait_for_url("**/runs/flow-run/*")
        return urlsplit(self.page.url).path.rsplit("/", 1)[-1]

    def ends(self, state: str) -> None:
        """The run's page shows that it has ended so."""
        heading = self.page.get_by_role("banner")
        expect(heading.get_by_text(state, exact=True)).to_be_visible(timeout=PATIENCE)

    def artifact(self, run: str, name: str) -> Locator:
        """What a run has left, opened from its page. Prefect keeps it a moment after the run."""
        about: dict[str, Any] = {"artifacts": {"flow_run_id": {"any_": [run]}}}
        until(lambda: self.api.get("POST", "/artifacts/filter", about) or None)
        self.page.get_by_role("tablist").get_by_text("Artifacts", exact=True).click()
        self.page.get_by_role("link", name=name).click()
        self.page.wait_for_url("**/artifacts/artifact/*")
        shown = self.page.get_by_role("tabpanel", name="Artifact")
        expect(shown.get_by_role("heading", level=1)).to_be_visible()
        return shown

    def picture(self, name: str, of: Locator | None = None) -> None:
        """On request, for the documentation: of the page, or the whole of a part of it, which would be scrolled else."""
        if self.screenshots is None:
            return
        self.screenshots.mkdir(parents=True, exist_ok=True)
        path = self.screenshots / f"{name}.png"
        if of is not None:
            usual = self.page.viewport_size
            assert usual is not None
            self.page.set_viewport_size({"width": usual["width"], "height": 3000})
            self.page.reload()  # without the note that a run was started
            expect(of.get_by_role("heading", level=1)).to_be_visible()
            of.screenshot(path=path)
            self.page.set_viewport_size(usual)
        else:
            self.page.screenshot(path=path)


def table(shown: Locator, column: str) -> dict[str, list[str]]:
    """The rows of the table that has this column, by their first cell."""
    head = shown.page.get_by_role("columnheader", name=column, exact=True)
    rows = shown.get_by_role("table").filter(has=head).first.get_by_role("row").all()[1:]
    cells = [row.get_by_role("cell").all_inner_texts() for row in rows]
    return {each[0]: each[1:] for each in cells}
