# SPDX-License-Identifier: MIT
"""browser - a headless Chromium that a test drives over a pipe, by the DevTools protocol, and what tests of any page ask it."""
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time

PATIENCE_S = 60
WIDTHS = (320, 375, 700, 1280)
SCHEMES = ("light", "dark")

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
        self.buffer, self.nr_calls, self.session = b"", 0, None
        self.complaints, self.requests = [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
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
        """What the page or its policy complains of, and what it asks for."""
        params = event.get("params", {})
        if event["method"] == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"])
        elif event["method"] == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        elif event["method"] == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def value(self, expression):
        """What an expression of JavaScript gives in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, f"{expression}: {answer}"
        return answer["result"].get("value")

    def text(self, selector):
        return self.value(f"document.querySelector({json.dumps(selector)})?.textContent")

    def open(self, url, is_ready):
        self.call("Page.navigate", url=url)
        self.until("the page is ready", is_ready)

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

    def fits_every_window(self):
        """Nothing sticks out of a narrow window, and all text can be read in both colour schemes."""
        grounds = set()
        for width in WIDTHS:
            for scheme in SCHEMES:
                self.look(width, scheme)
                assert self.value("innerWidth") == width, (width, self.value("innerWidth"))
                assert self.value("document.documentElement.scrollWidth") <= width, width
                contrast, text = self.value(CONTRAST)
                assert contrast >= 4.5, f"{scheme}: contrast {contrast:.2f}: {text}"
                grounds.add((scheme, self.value("getComputedStyle(document.body).backgroundColor")))
        assert len(grounds) == len(SCHEMES), grounds


def run(*checks):
    """The check that the first argument names, with a browser and the other arguments. Exit code 77 without a browser."""
    name, *arguments = sys.argv[1:]
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        sys.exit(77)
    try:
        browser = Browser(program)
    except OSError as error:
        print(error, file=sys.stderr)
        sys.exit(77)
    try:
        {check.__name__: check for check in checks}[name](browser, *arguments)
    finally:
        browser.close()
