# SPDX-License-Identifier: MIT
"""browse_probe.py CHECK PAGE JSON - open a page of usplice probe in a real browser, and look whether what CHECK says is so."""
import json
from pathlib import Path

from browser import run

LETTERS = {"by reference": "R", "copied": "C", "by the device": "D", "refused": "–", "undecidable": "?"}


class Page:
    def __init__(self, browser, page, found):
        self.browser, self.url, self.run = browser, Path(page).resolve().as_uri(), json.loads(Path(found).read_text())
        self.sources, self.sinks = ([cell for cell in self.run["cells"] if cell["half"] == half and cell["base"]]
                                    for half in ("into a pipe", "out of a pipe"))
        browser.open(self.url, lambda: browser.value("document.getElementById('main')?.hidden") is False)

    def is_clean(self):
        """Nothing was complained of, and nothing was loaded but the page."""
        assert not self.browser.complaints, self.browser.complaints
        assert set(self.browser.requests) == {self.url}, self.browser.requests

    def letters(self):
        return self.browser.value("[...document.querySelectorAll('#matrix tbody tr')].map(row =>"
                                  " [...row.querySelectorAll('button')].map(button => button.textContent))")

    def detail(self):
        return self.browser.text("#detail")

    def click(self, row, column):
        """A real click, which does nothing where something else lies over the cell."""
        at = self.browser.value(f"""(() => {{
            const button = document.querySelector('[data-row="{row}"][data-column="{column}"]');
            button.scrollIntoView({{block: "center", inline: "center"}});
            const box = button.getBoundingClientRect();
            return [box.left + box.width / 2, box.top + box.height / 2];
        }})()""")
        for kind in ("mousePressed", "mouseReleased"):
            self.browser.call("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left", clickCount=1)


def whole(source, sink):
    """What two halves make together."""
    answers = {source["answer"], sink["answer"]}
    return next((answer for answer in ("refused", "copied", "undecidable", "by the device") if answer in answers), "by reference")


def shows_the_matrix(browser, *files):
    """A cell for each source and sink with the letter of its answer, each object in its list, and a bar for each cost."""
    page = Page(browser, *files)
    assert page.letters() == [[LETTERS[whole(source, sink)] for sink in page.sinks] for source in page.sources]
    direct = [cell for cell in page.run["cells"] if cell["half"] == "direct" and cell["base"]]
    lists = {"#into": page.sources, "#out": page.sinks, "#direct": direct}
    for selector, cells in lists.items():
        assert browser.value(f"document.querySelectorAll('{selector} details').length") == len(cells), selector
    costs = sum(cell["cost"] is not None for cells in lists.values() for cell in cells)
    browser.until("bars", lambda: browser.value("document.querySelectorAll('#costs .bar').length") == costs)
    controls, composed = page.run["controls"], page.run["composed"]
    facts = browser.text("#facts")
    for fact in (page.run["system"]["kernel"], page.run["system"]["machine"], f"{composed['agreed']} of {composed['checked']} as their halves say"):
        assert fact in facts, (fact, facts)
    alarms = browser.value("document.querySelectorAll('.alarm').length")
    assert alarms == (not controls["copies"]) + (not controls["aliases"]) + bool(composed["differing"]), browser.text("#alarms")
    page.is_clean()


def shows_both_halves(browser, *files):
    """A click shows the reasons of both halves, on every cell of a diagonal."""
    page = Page(browser, *files)
    for row, source in enumerate(page.sources):
        column = row % len(page.sinks)
        sink = page.sinks[column]
        page.click(row, column)
        for text in (f"{source['object']} → pipe → {sink['object']}", whole(source, sink), source["reason"], sink["reason"]):
            assert text in page.detail(), (text, page.detail())
    page.is_clean()


def obeys_the_keyboard(browser, *files):
    """The tabulator reaches the matrix once, the arrow keys move in it, and Enter opens an object."""
    page = Page(browser, *files)
    label = "document.activeElement.getAttribute('aria-label')"
    name = lambda row, column: f"{page.sources[row]['object']} to {page.sinks[column]['object']}: "
    browser.press("Tab")
    if browser.value("document.activeElement.className") == "scroll":  # which can be reached, too, where it is too narrow
        browser.press("Tab")
    assert browser.value(label).startswith(name(0, 0))
    for key, row, column in (("ArrowDown", 1, 0), ("ArrowRight", 1, 1), ("ArrowUp", 0, 1), ("ArrowUp", 0, 1), ("End", 0, len(page.sinks) - 1),
                             ("ArrowRight", 0, len(page.sinks) - 1), ("Home", 0, 0), ("ArrowLeft", 0, 0)):
        browser.press(key)
        assert browser.value(label).startswith(name(row, column)), (key, browser.value(label))
        assert f"{page.sources[row]['object']} → pipe → {page.sinks[column]['object']}" in page.detail()
    browser.press("Tab")
    assert browser.value("document.activeElement.tagName") == "SUMMARY"
    page.is_clean()


def tells_the_changes(browser, *files):
    """An object that an axis changes says so, and one that nothing changes says that."""
    page = Page(browser, *files)
    lines = browser.value("[...document.querySelectorAll('#into summary')].map(line => line.textContent)")
    changed = next(line for line in lines if "file in /tmp18 ms" in line)
    assert "But copied with state dirty, undecidable with another owner's file" in changed, changed
    assert any("file in /dev/shm" in line and "the same in all other cases; undecidable with another owner's file" in line for line in lines), lines
    assert any("memory (write)" in line and "the same in all 4 cases" in line for line in lines), lines
    assert "only root can make a file of another owner" in browser.text("#into li")
    page.is_clean()


def warns(browser, *files):
    """A failed control and a pair that does not compose stand at the top; without costs no bar is drawn."""
    page = Page(browser, *files)
    alarms = browser.text("#alarms")
    assert "what must copy did not" in alarms and "what must go by reference did not" in alarms, alarms
    assert "here → pipe → there: expected copied, found by reference" in alarms, alarms
    assert "failed" in browser.text("#facts") and "not measured" in browser.text("#facts")
    assert browser.text("#costs-hint") == "This run measured no costs."
    assert browser.value("document.querySelectorAll('#costs svg').length") == 0
    page.is_clean()


def is_not_taken_over(browser, *files):
    """Names that are HTML and script are shown as text, wherever they stand."""
    page = Page(browser, *files)
    hostile = page.sources[0]["object"]
    assert "<img" in hostile and "</script>" in hostile
    assert browser.value("window.taken") is None
    assert browser.value("document.querySelectorAll('img, iframe, body > b').length") == 0
    assert browser.value("document.querySelector('#matrix tbody th').textContent") == hostile
    page.click(0, 0)
    assert hostile in page.detail()
    assert page.sources[0]["reason"] in page.detail()
    browser.value("document.querySelectorAll('details').forEach(it => { it.open = true; })")
    assert browser.value("window.taken") is None
    page.is_clean()


def fits_every_window(browser, *files):
    """Nothing sticks out of a narrow window, and all text can be read in both colour schemes."""
    page = Page(browser, *files)
    browser.value("document.querySelectorAll('details').forEach(it => { it.open = true; })")
    browser.fits_every_window()
    page.is_clean()


run(shows_the_matrix, shows_both_halves, obeys_the_keyboard, tells_the_changes, warns, is_not_taken_over, fits_every_window)
