# SPDX-License-Identifier: MIT
"""browse.py CHECK URL [FILE] - open the page of a relay in a real browser, and look whether what CHECK says is so.

The browser is a headless Chromium, driven over a pipe by the DevTools protocol. Exit code 77 if there is none that starts.
"""
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PATIENCE_S = 60
WIDTHS = (320, 375, 700, 1280)
SCHEMES = ("light", "dark")


class Browser:
    """One page in one browser."""

    def __init__(self, program):
        self.home = tempfile.mkdtemp(prefix="browser-", dir=os.getcwd())
        command_in, self.commands = os.pipe()
        self.answers, answer_out = os.pipe()
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # which Chromium refuses to have as root
        self.process = subprocess.Popen(
            # It expects its commands at descriptor 3 and answers at 4.
            ["bash", "-c", f'exec "$@" 3<&{command_in} 4>&{answer_out}', "browser", program, "--headless", "--disable-gpu",
             "--no-first-run", *sandbox, "--remote-debugging-pipe", f"--user-data-dir={self.home}", "about:blank"],
            pass_fds=(command_in, answer_out), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        os.close(command_in)
        os.close(answer_out)
        self.buffer, self.nr_calls, self.session, self.complaints = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(domain + ".enable")

    def close(self):
        """Ask it to, so that none of its processes is left behind to write what is removed here."""
        try:
            self.session = None
            self.call("Browser.close")
            self.process.wait(PATIENCE_S)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def receive(self):
        deadline = time.monotonic() + PATIENCE_S
        while b"\0" not in self.buffer:
            if not select.select([self.answers], [], [], max(0, deadline - time.monotonic()))[0]:
                raise OSError("the browser does not answer")
            data = os.read(self.answers, 1 << 16)
            if not data:
                raise OSError("the browser has gone")
            self.buffer += data
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **params):
        self.nr_calls += 1
        message = {"id": self.nr_calls, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.nr_calls:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.note(answer)

    def note(self, event):
        """What the page or its policy complains of."""
        params = event.get("params", {})
        if event["method"] == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"])
        elif event["method"] == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])

    def value(self, expression):
        """What an expression of JavaScript gives in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, f"{expression}: {answer}"
        return answer["result"].get("value")

    def text(self, selector):
        return self.value(f"document.querySelector({json.dumps(selector)})?.textContent")

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.until("it is live", lambda: self.text("#state") == "live")

    def until(self, what, is_so):
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < deadline, f"never came true: {what}; the page says: {self.text('body')}"
            time.sleep(0.05)

    def press(self, key):
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def look(self, width, scheme):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])


def starts(browser, url):
    """There is a browser, and the page is live in it."""
    browser.open(url)


def shows_the_flow(browser, url):
    """Numbers, plots, ways and targets are there, from a relay that has one connection and has moved bytes."""
    browser.open(url)
    browser.until("one connection", lambda: browser.text(".tile:first-child b") == "1")
    browser.until("a plot", lambda: browser.value("document.querySelectorAll('#rates .line').length") == 2)
    assert browser.value("document.querySelectorAll('.hop .bar > i').length") >= 4
    assert browser.text("#targets th") == "unix:echo"
    assert "in use" in browser.text("#targets td")
    assert "Accepted1" in browser.text("#totals")
    assert not browser.complaints, browser.complaints


def obeys_the_keyboard(browser, url):
    """The plot can be reached by the tabulator, and read moment by moment."""
    browser.open(url)
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


# The least contrast of any text to what is behind it, by the formula of WCAG, and that text.
CONTRAST = """(() => {
	const parts = color => color.match(/[\\d.]+/g).map(Number);
	const light = color => parts(color).slice(0, 3).map(part => part / 255)
		.map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
		.reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = element => {
		const color = getComputedStyle(element).backgroundColor;
		return parts(color)[3] === 0 && element.parentElement ? behind(element.parentElement) : color;
	};
	const hasText = element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
	return [...document.body.querySelectorAll("*:not(script, noscript)")].filter(hasText).map(element => {
		const style = getComputedStyle(element);
		const ground = light(behind(element)), ink = light(element.closest("svg") ? style.fill : style.color);
		return [(Math.max(ground, ink) + 0.05) / (Math.min(ground, ink) + 0.05), element.textContent];
	}).sort((one, other) => one[0] - other[0])[0];
})()"""


def fits_every_window(browser, url):
    """Nothing sticks out of a narrow window, and all text can be read in both colour schemes."""
    browser.open(url)
    grounds = set()
    for width in WIDTHS:
        for scheme in SCHEMES:
            browser.look(width, scheme)
            assert browser.value("innerWidth") == width, (width, browser.value("innerWidth"))
            assert browser.value("document.documentElement.scrollWidth") <= width, width
            contrast, text = browser.value(CONTRAST)
            assert contrast >= 4.5, f"{scheme}: contrast {contrast:.2f}: {text}"
            grounds.add((scheme, browser.value("getComputedStyle(document.body).backgroundColor")))
    assert len(grounds) == len(SCHEMES), grounds


def notices_the_end(browser, url, file):
    """When FILE goes the relay is gone, too: the page says so. When FILE is there again it answers, and that is said."""
    browser.open(url)
    Path(file).unlink()
    browser.until("no answer", lambda: browser.text("#state") == "no answer")
    assert "does not answer" in browser.text("#lost")
    assert browser.value("document.querySelector('main').className") == "stale"
    Path(file + ".lost").touch()
    browser.until("an answer", lambda: browser.text("#state") == "live")
    assert browser.text("#lost") == ""
    assert browser.value("document.querySelector('main').className") == ""


def main():
    check, *arguments = sys.argv[1:]
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        sys.exit(77)
    try:
        browser = Browser(program)
    except OSError as error:
        print(error, file=sys.stderr)
        sys.exit(77)
    try:
        {function.__name__: function for function in
         (starts, shows_the_flow, obeys_the_keyboard, fits_every_window, notices_the_end)}[check](browser, *arguments)
    finally:
        browser.close()


main()
