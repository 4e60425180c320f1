# SPDX-License-Identifier: MIT
"""browse.py CHECK URL [FILE] - open the page of a relay or a mount in a real browser, and look whether what CHECK says is so."""
from pathlib import Path

from browser import run


def open_live(browser, url):
    browser.open(url, lambda: browser.text("#state") == "live")


def starts(browser, url):
    """There is a browser, and the page is live in it."""
    open_live(browser, url)


def shows_the_flow(browser, url):
    """Numbers, plots, ways and targets are there, from a relay that has one connection and has moved bytes."""
    open_live(browser, url)
    browser.until("one connection", lambda: browser.text(".tile:first-child b") == "1")
    browser.until("a plot", lambda: browser.value("document.querySelectorAll('#rates .line').length") == 2)
    assert browser.value("document.querySelectorAll('.hop .bar > i').length") >= 4
    assert browser.text("#targets th") == "unix:echo"
    assert "in use" in browser.text("#targets td")
    assert "Accepted1" in browser.text("#totals")
    assert not browser.complaints, browser.complaints


def shows_the_files(browser, url):
    """Files and numbers are there, from a mount of one file of 1000 bytes that was read."""
    open_live(browser, url)
    assert browser.text(".tile:first-child b") == "1"
    assert browser.text("#files th") == "source"
    assert browser.text("#files [data-label=Size]") == "1.00 kB"
    browser.until("requests", lambda: browser.value("document.querySelectorAll('#requests tr').length") > 0)
    assert "Found in page caches" in browser.text("#totals")
    assert not browser.complaints, browser.complaints


def obeys_the_keyboard(browser, url):
    """The plot can be reached by the tabulator, and read moment by moment."""
    open_live(browser, url)
    told = "document.activeElement.getAttribute('aria-valuetext')"
    browser.value("document.activeElement.blur()")
    browser.press("Tab")
    assert browser.value("document.activeElement.id") == "cursor"
    assert browser.value(told).startswith("now: ")
    for _ in range(3):
        browser.press("ArrowLeft")
    assert browser.value(told).startswith("3 s ago: ")
    assert browser.text("#readout") == browser.value(told)
    assert browser.value("document.querySelectorAll('.hair').length") == 2
    browser.press("Escape")
    assert browser.value(told).startswith("now: ")
    assert browser.value("document.querySelectorAll('.hair').length") == 0


def fits_every_window(browser, url):
    """Nothing sticks out of a narrow window, and all text can be read in both colour schemes."""
    open_live(browser, url)
    browser.fits_every_window()


def notices_the_end(browser, url, file):
    """Remove FILE: the program ends now, and the page says so. Make FILE.lost: the program comes again, and that is said."""
    open_live(browser, url)
    Path(file).unlink()
    browser.until("no answer", lambda: browser.text("#state") == "no answer")
    assert "does not answer" in browser.text("#lost")
    assert browser.value("document.querySelector('main').className") == "stale"
    Path(file + ".lost").touch()
    browser.until("an answer", lambda: browser.text("#state") == "live")
    assert browser.text("#lost") == ""
    assert browser.value("document.querySelector('main').className") == ""


run(starts, shows_the_flow, shows_the_files, obeys_the_keyboard, fits_every_window, notices_the_end)
