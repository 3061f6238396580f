"""Notebook 09 as a student runs it: a real browser opens JupyterLab, runs all cells, and sees nginx's page in the notebook.

The browser knows one port, JupyterLab's: as it is where the lab is on another machine, and only that port is forwarded.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from labkit.lab import jupyter

CHROMIUM = "/usr/bin/chromium"
os.environ.setdefault("PLAYWRIGHT_BROWSERS_PATH", str(Path(__file__).parents[2] / ".venv" / "browsers"))

NOTEBOOK = "09-nginx.ipynb"
PATIENCE = 60_000
LONG = 240_000
"""Milliseconds in which a page loads, and in which the notebook runs, on a machine that must first make the images."""

pytestmark = pytest.mark.timeout(400)
expect.set_options(timeout=PATIENCE)


def code_cells(notebook: Path) -> list[dict[str, Any]]:
    cells = json.loads(notebook.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the notebook, as if it had never run: what is seen in it has come from this run."""
    copy = tmp_path_factory.mktemp("browser") / "notebooks" / NOTEBOOK
    copy.parent.mkdir()
    shutil.copy(Path(jupyter.NOTEBOOKS) / NOTEBOOK, copy)
    content = json.loads(copy.read_text())
    content["metadata"].pop("widgets", None)
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
    copy.write_text(json.dumps(content))
    return copy


@pytest.fixture(scope="module")
def server(notebook: Path) -> Iterator[jupyter.Server]:
    place = notebook.parents[1]
    yield jupyter.up(port=18909, notebooks=str(notebook.parent), run=str(place / "run"), settings=str(place / "settings"))
    jupyter.down(str(place / "run"))


@pytest.fixture(scope="module")
def asked() -> set[str]:
    """Host and port of all that the browser has asked for anything."""
    return set()


@pytest.fixture(scope="module")
def page(server: jupyter.Server, notebook: Path, asked: set[str]) -> Iterator[Page]:
    """The notebook in a browser, with all its cells run."""
    with sync_playwright() as playwright:
        program = CHROMIUM if os.path.exists(CHROMIUM) else None
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
        page.on("websocket", lambda socket: asked.add(urlsplit(socket.url).netloc))
        page.goto(server.url.replace(jupyter.FIRST_NOTEBOOK, NOTEBOOK))
        expect(page.locator(".jp-StatusBar-Widget", has_text="| Idle").first).to_be_visible()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        last = page.locator(".jp-NotebookPanel .jp-InputPrompt", has_text=f"[{len(code_cells(notebook))}]:")
        expect(last).to_be_visible(timeout=LONG)
        yield page
        browser.close()



def scrolled_to(page: Page, text: str) -> None:
    """Bring a cell to where it is seen: what is far away, JupyterLab does not draw."""
    page.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollTop = 0")
    panel = page.locator(".jp-WindowedPanel-outer")
    while not (found := page.locator(".jp-CodeCell", has_text=text).first).is_visible():
        before = panel.evaluate("panel => panel.scrollTop")
        panel.evaluate("panel => panel.scrollBy(0, 500)")
        page.wait_for_function("before => document.querySelector('.jp-WindowedPanel-outer').scrollTop != before", arg=before)
    found.scroll_into_view_if_needed()


def test_no_cell_fails_but_those_that_are_meant_to(page: Page, notebook: Path) -> None:
    page.keyboard.press("Control+s")
    expect(page.locator(".lm-DockPanel-tabBar .jp-mod-dirty")).to_have_count(0)
    cells = code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert ["".join(cell["source"]) for cell in cells if any(each["output_type"] == "error" for each in cell["outputs"])] == []


def test_nginx_s_page_is_seen_in_the_notebook(page: Page) -> None:
    scrolled_to(page, "Page(site)")
    frame = page.locator("iframe[title^='the page at http://127.0.0.1:']").first
    frame.scroll_into_view_if_needed()
    shown = frame.content_frame
    heading = shown.get_by_role("heading", name="nginx answers from a container.")
    expect(heading).to_be_visible()
    expect(shown.locator("code").first).to_have_text("/usr/share/nginx/html/index.html")
    box = heading.bounding_box()
    assert box is not None and box["width"] > 200 and box["height"] > 20


def test_the_page_of_the_volume_is_the_one_that_was_written_last(page: Page) -> None:
    scrolled_to(page, "Monday")
    shown = page.locator("iframe[title^='the page at http://127.0.0.1:']").last.content_frame
    expect(shown.get_by_role("heading", name="Tuesday")).to_be_visible()


def test_the_browser_has_asked_nobody_but_jupyterlab(page: Page, server: jupyter.Server, asked: set[str]) -> None:
    assert asked - {""} == {server.address}
