"""The lab as a student meets it: a real browser opens JupyterLab's URL, reads the first notebook, and runs it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from labkit.lab import jupyter

CHROMIUM = "/usr/bin/chromium"
os.environ.setdefault("PLAYWRIGHT_BROWSERS_PATH", str(Path(__file__).parents[2] / ".venv" / "browsers"))

PATIENCE = 60_000
"""Milliseconds in which a page loads, or a notebook runs."""

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the notebooks, since what a student saves is no business of the tests; the first one as if it had never run."""
    copy = tmp_path_factory.mktemp("browser") / "notebooks"
    shutil.copytree(jupyter.NOTEBOOKS, copy, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    first = json.loads((copy / jupyter.FIRST_NOTEBOOK).read_text())
    for cell in code_cells(first):
        cell.update(outputs=[], execution_count=None)
    (copy / jupyter.FIRST_NOTEBOOK).write_text(json.dumps(first))
    return copy


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]


@pytest.fixture(scope="module")
def server(notebooks: Path) -> Iterator[jupyter.Server]:
    place = notebooks.parent
    yield jupyter.up(port=18899, notebooks=str(notebooks), run=str(place / "run"), settings=str(place / "settings"))
    jupyter.down(str(place / "run"))


@pytest.fixture(scope="module")
def page(server: jupyter.Server) -> Iterator[Page]:
    """The page behind the URL that `make lab` prints, with the notebook's kernel started."""
    with sync_playwright() as playwright:
        program = CHROMIUM if os.path.exists(CHROMIUM) else None
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(PATIENCE)
        page.goto(server.url)
        expect(page.locator(".jp-StatusBar-Widget", has_text="| Idle").first).to_be_visible()
        yield page
        browser.close()


@pytest.fixture
def complaints(page: Page) -> list[str]:
    """What the page's own scripts fail with while a test runs."""
    heard: list[str] = []
    page.on("pageerror", lambda error: heard.append(str(error)))
    return heard


def test_the_url_opens_the_first_notebook(page: Page) -> None:
    expect(page.locator(".jp-NotebookPanel h1").first).to_be_visible()
    expect(page.locator(".lm-TabBar-tab.lm-mod-current", has_text=jupyter.FIRST_NOTEBOOK).first).to_be_visible()


def test_nothing_pops_up_over_it(page: Page) -> None:
    expect(page.locator(".jp-Dialog")).to_have_count(0)
    expect(page.locator(".Toastify__toast")).to_have_count(0)


def test_the_file_browser_lists_the_course_and_nothing_else(page: Page, notebooks: Path) -> None:
    listed = page.locator(".jp-DirListing-itemText").all_inner_texts()
    assert sorted(listed) == sorted(path.name for path in notebooks.glob("*.ipynb"))


def test_the_first_notebook_runs_from_top_to_bottom(page: Page, notebooks: Path, complaints: list[str]) -> None:
    count = len(code_cells(json.loads((notebooks / jupyter.FIRST_NOTEBOOK).read_text())))
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    expect(page.locator(".jp-NotebookPanel .jp-InputPrompt", has_text=f"[{count}]:")).to_be_visible()

    page.keyboard.press("Control+s")
    expect(page.locator(".lm-DockPanel-tabBar .jp-mod-dirty")).to_have_count(0)
    cells = code_cells(json.loads((notebooks / jupyter.FIRST_NOTEBOOK).read_text()))
    assert [cell["execution_count"] for cell in cells] == list(range(1, count + 1))
    failed = [cell for cell in cells if any(output["output_type"] == "error" for output in cell["outputs"])]
    assert ["".join(cell["source"]) for cell in failed if "raises-exception" not in cell["metadata"].get("tags", [])] == []
    assert complaints == []
