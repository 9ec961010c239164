"""A real Chromium without a window, driven by Selenium: Debian's packages
chromium, chromium-driver and python3-selenium.

A Browser is one profile, in a directory of the test's own. Chromium ends when
its driver does, and the driver is ended by its process id.
"""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import time

import harness
from webserver import free_port

DEBIANS_PYTHON = "/usr/bin/python3"


def use_debians_python():
    """Debian's Selenium is for Debian's Python, which need not be the first one
    in the PATH: go on with that one. Selenium need not be there at all."""
    try:
        import selenium.webdriver  # noqa: F401, pylint: disable=unused-import
    except ImportError:
        if os.environ.get("SESSGATE_DEBIANS_PYTHON") or not os.access(DEBIANS_PYTHON, os.X_OK):
            return
        os.environ["SESSGATE_DEBIANS_PYTHON"] = "1"
        os.execv(DEBIANS_PYTHON, [DEBIANS_PYTHON] + sys.argv)


def needs_chromium():
    harness.needs("chromium")
    harness.needs("chromedriver")
    try:
        import selenium.webdriver  # noqa: F401, pylint: disable=unused-import
    except ImportError:
        raise harness.Skip("python3-selenium is not installed")


class Certificate:
    """A key and a certificate that they sign themselves; a browser that is told
    the key's hash takes that key and no other."""

    def __init__(self, directory, host):
        self.key, self.file = os.path.join(directory, "key.pem"), os.path.join(directory, "cert.pem")
        openssl = harness.needs("openssl")
        subprocess.run([openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", self.key, "-out", self.file, "-days", "2", "-subj", "/CN=" + host,
                        "-addext", "subjectAltName=DNS:" + host],
                       check=True, capture_output=True, stdin=subprocess.DEVNULL)
        public = subprocess.run([openssl, "pkey", "-in", self.key, "-pubout", "-outform", "DER"], check=True,
                                capture_output=True, stdin=subprocess.DEVNULL).stdout
        self.hash = base64.b64encode(hashlib.sha256(public).digest()).decode()


class Browser:
    def __init__(self, directory, host, certificate=None):
        from selenium.webdriver.chrome.options import Options
        from selenium.webdriver.chromium.remote_connection import ChromiumRemoteConnection
        from selenium.webdriver.remote.webdriver import WebDriver
        self.dir = directory
        os.mkdir(directory)
        self.log_path = os.path.join(directory, "driver.log")
        port = free_port()
        env = dict((k, v) for k, v in os.environ.items() if not k.lower().endswith("_proxy"))
        env.update(HOME=directory, TMPDIR=directory, XDG_CONFIG_HOME=directory, XDG_CACHE_HOME=directory)
        self.process = harness.spawn(
            [harness.needs("chromedriver"), "--port=%d" % port, "--log-path=" + self.log_path], env=env, cwd="/",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            harness.wait_until(lambda: self.answers(port), "chromedriver answers")
            options = Options()
            options.binary_location = harness.needs("chromium")
            for argument in ["--headless=new", "--remote-debugging-pipe", "--user-data-dir=" + directory + "/profile",
                             "--no-first-run", "--no-proxy-server", "--disable-background-networking",
                             "--disable-component-update", "--disable-gpu", "--window-size=1000,800",
                             "--host-resolver-rules=MAP %s 127.0.0.1" % host]:
                options.add_argument(argument)
            if harness.IS_ROOT:
                options.add_argument("--no-sandbox")
            if certificate is not None:
                options.add_argument("--ignore-certificate-errors-spki-list=" + certificate.hash)
            options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
            self.driver = WebDriver(
                command_executor=ChromiumRemoteConnection("http://127.0.0.1:%d" % port, "goog", "chrome"),
                options=options)
        except BaseException:
            self.stop()
            raise
        self.driver.set_page_load_timeout(20)

    def answers(self, port):
        if self.process.poll() is not None:
            raise AssertionError("chromedriver ended: " + self.log())
        try:
            harness.connect(("127.0.0.1", port)).close()
            return True
        except OSError:
            return False

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def stop(self):
        if hasattr(self, "driver"):
            self.driver.quit()
        harness.end_process(self.process)
        harness.wait_until(self.is_gone, "chromium has ended")
        if not os.environ.get("KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)

    def is_gone(self):
        """Nobody uses the profile any more."""
        own = ("--user-data-dir=" + self.dir + "/profile").encode()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/cmdline" % pid, "rb") as f:
                    if own in f.read().split(b"\0"):
                        return False
            except OSError:
                continue
        return True

    # -- what a test does with it --

    def cdp(self, command, **params):
        return self.driver.execute("executeCdpCommand", {"cmd": command, "params": params})["value"]

    def go(self, url):
        self.driver.get(url)

    def run(self, script, *args):
        return self.driver.execute_script(script, *args)

    def text(self):
        return self.run("return document.body.innerText")

    def find(self, css):
        return self.driver.find_elements("css selector", css)

    def press(self, label, number=0, goes=True):
        """The number-th button or link whose text begins so. goes: to another
        page, which is there afterwards."""
        found = [b for b in self.find("button, a") if b.get_attribute("textContent").startswith(label)]
        assert len(found) > number, (label, self.text())
        self.run("window.isBefore = true")
        found[number].click()
        if goes:
            wait_for("another page", lambda: self.run(
                "return !window.isBefore && document.readyState === 'complete'"))

    def messages(self):
        """What the console has said since the last time."""
        return [m["level"] + " " + m["message"] for m in self.driver.get_log("browser")]

    def new_tab(self, url=None, kind="tab"):
        """Its handle; it is the one that is driven now."""
        self.driver.switch_to.new_window(kind)
        if url is not None:
            self.go(url)
        return self.driver.current_window_handle

    def tab(self, handle):
        self.driver.switch_to.window(handle)

    def only_tab(self):
        """Close all tabs but one, and forget all cookies."""
        first, *others = self.driver.window_handles
        for handle in others:
            self.tab(handle)
            self.driver.close()
        self.tab(first)
        self.go("about:blank")
        self.cdp("Network.clearBrowserCookies")
        self.cdp("Emulation.setScriptExecutionDisabled", value=False)
        self.messages()

    def cookies(self):
        return self.cdp("Network.getCookies")["cookies"]

    def size(self, width, height=800, scale=1, dark=False):
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale,
                 mobile=False)
        self.cdp("Emulation.setEmulatedMedia",
                 features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def usual_size(self):
        self.cdp("Emulation.clearDeviceMetricsOverride")
        self.cdp("Emulation.setEmulatedMedia", features=[])

    def picture(self, path):
        width, height, scale = self.run("return [innerWidth, document.documentElement.scrollHeight, devicePixelRatio]")
        # What is higher it does not draw in one piece, and does not say so.
        shot = self.cdp("Page.captureScreenshot", captureBeyondViewport=True, clip={
            "x": 0, "y": 0, "width": width, "height": min(height, 12000 // scale), "scale": 1})
        with open(path, "wb") as f:
            f.write(base64.b64decode(shot["data"]))

    def roles(self):
        """The accessibility tree: [(role, name, level or None)] in order."""
        self.cdp("Accessibility.enable")
        nodes = self.cdp("Accessibility.getFullAXTree")["nodes"]
        by_id = {n["nodeId"]: n for n in nodes}
        found, todo = [], [nodes[0]["nodeId"]]
        while todo:
            node = by_id.get(todo.pop())
            if node is None:
                continue
            todo += reversed(node.get("childIds", []))
            if node.get("ignored"):
                continue
            level = [p["value"]["value"] for p in node.get("properties", []) if p["name"] == "level"]
            found.append((node["role"]["value"], node.get("name", {}).get("value", ""), level[0] if level else None))
        return found


def wait_for(what, check, timeout=harness.PATIENCE):
    """check() until it is true; what it was then, and after how many seconds."""
    begin = time.monotonic()
    while True:
        value = check()
        if value:
            return value, time.monotonic() - begin
        if time.monotonic() - begin > timeout:
            raise AssertionError("not within %g s: %s" % (timeout, what))
        time.sleep(0.02)


def picture(browser, name):
    """With SESSGATE_PICTURES=DIRECTORY left there, to be looked at."""
    directory = os.environ.get("SESSGATE_PICTURES")
    if directory:
        browser.picture(os.path.join(directory, name + ".png"))


# ---- can everybody use a page? ---------------------------------------------

CONTRAST_JS = """
function parse(c) { return (c.match(/[\\d.]+/g) || []).map(Number); }
function light(c) {
  return c.slice(0, 3).map(function (v) { v /= 255; return v <= .03928 ? v / 12.92 : Math.pow((v + .055) / 1.055, 2.4); })
    .reduce(function (sum, v, i) { return sum + v * [.2126, .7152, .0722][i]; }, 0);
}
function back(e) {
  for (; e; e = e.parentElement) {
    var c = parse(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] > 0) return c;
  }
  return [255, 255, 255];
}
return Array.from(document.querySelectorAll("body *")).filter(function (e) {
  return Array.from(e.childNodes).some(function (n) { return n.nodeType === 3 && n.data.trim(); });
}).map(function (e) {
  var a = light(parse(getComputedStyle(e).color)), b = light(back(e));
  return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.tagName + " " + e.textContent.slice(0, 30)];
}).sort(function (x, y) { return x[0] - y[0]; })[0];
"""


def is_accessible(t, a, name):
    """Fits, and can be read: light and dark, on a telephone, enlarged."""
    for label, width, scale, dark, text in (
            ("light", 1000, 1, False, 100), ("dark", 1000, 1, True, 100), ("narrow", 320, 1, False, 100),
            ("narrow-dark", 320, 2, True, 100), ("zoomed", 640, 2, False, 200)):
        a.size(width, scale=scale, dark=dark)
        a.run("document.documentElement.style.setProperty('font-size', arguments[0] + '%')", text)
        picture(a, "%s-%s" % (name, label))
        wide, inner = a.run("return [document.scrollingElement.scrollWidth, innerWidth]")
        t.true(wide <= inner == width, "%s %s: %d wide, of %d" % (name, label, wide, inner))
        worst = a.run(CONTRAST_JS)
        t.true(worst[0] >= 7, "%s %s: contrast %r" % (name, label, worst))
        small = a.run("return Array.from(document.querySelectorAll('button, a.button')).map(function (e) {"
                      " return e.getBoundingClientRect().height; }).filter(function (h) { return h < 44; })")
        t.equal(small, [], "too small to touch")
    a.usual_size()
