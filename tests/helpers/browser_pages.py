"""Pages in Chromium: as Debian has it, with `apt install chromium-driver`.

Selenium drives it by the W3C's protocol and the driver that comes with the browser, so it
downloads none.
"""

import os
import shutil

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LONG = "microphone" * 30  # A name that nothing breaks.
HOSTILE = "</script><script>document.title = 'run'</script><img src=x onerror=alert(1)>"


def start():
    """Yield a browser without a window, and quit it; skip where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    driver = shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("needs Chromium and chromedriver: apt install chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    options.add_argument("--headless=new")
    options.add_argument("--disable-dev-shm-usage")
    if os.geteuid() == 0:  # As in containers, where Chromium cannot separate itself.
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    browser = webdriver.Chrome(options=options, service=service)
    yield browser
    browser.quit()


def show_by(browser, path, write):
    """Yield a function that opens the page of a record; then look for errors.

    Args:
        browser: From `start`.
        path: Of the page.
        write: Writes the page of a record to a path.
    """

    def show(record, width=1440, scheme="light", media="screen"):
        write(record, path)
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {
                "width": width,
                "height": 900,
                "deviceScaleFactor": 1,
                "mobile": width < 600,
            },
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"media": media, "features": features}
        )
        browser.get(path.as_uri())

    browser.get("about:blank")
    browser.get_log("browser")
    yield show
    assert browser.get_log("browser") == []


def find(browser, selector):
    """Find the first element of a selector."""
    return browser.find_element("css selector", selector)


def texts(browser, selector):
    """List what is to be read in all elements of a selector."""
    return [one.text for one in browser.find_elements("css selector", selector)]


def assert_fits(browser, width):
    """Check that nothing is wider than the screen."""
    wide = "return document.documentElement.scrollWidth"
    assert browser.execute_script(wide) <= width
    assert browser.execute_script("return innerWidth") == width


def _luminance(color):
    """Compute the relative luminance of a color, as the W3C's guidelines for contrast."""
    values = [int(part) / 255 for part in color.strip("rgba()").split(",")[:3]]
    linear = [
        v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values
    ]
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def assert_contrast(browser, scheme, least):
    """Check the contrast of variables of the style with what is below them.

    Args:
        browser: With the page.
        scheme: "light" or "dark", which the page shall be.
        least: Least contrast of each: 4.5 for letters and 3 for what is drawn, as the
            W3C's guidelines say.
    """

    def measure(name):
        return _luminance(
            browser.execute_script(
                "document.body.style.color = `var(--${arguments[0]})`;"
                "return getComputedStyle(document.body).color",
                name,
            )
        )

    below = measure("page")
    assert (below > 0.5) == (scheme == "light")
    for background in (below, measure("panel")):
        for name, contrast in least.items():
            low, high = sorted((measure(name), background))
            assert (high + 0.05) / (low + 0.05) >= contrast, name


def assert_white(browser):
    """Check that the page is printed on white."""
    background = browser.execute_script(
        "return getComputedStyle(document.body).backgroundColor"
    )
    assert _luminance(background) == pytest.approx(1.0)
