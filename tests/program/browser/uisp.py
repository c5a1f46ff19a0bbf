"""The demo as somebody in front of a browser knows it: logins, the form, the log, the plugin's page."""

import json
import re
import shutil
import urllib.parse
import urllib.request
from contextlib import contextmanager

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.wait import WebDriverWait

PLUGIN = "backup-sync-dropbox"
SECONDS_MAX = 60


def start_browser():
    """Chromium without a window, which finds no host but this machine."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in (
        "--headless=new",
        # Containers run this as root and give it a small /dev/shm.
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--no-proxy-server",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--force-device-scale-factor=1",
        "--hide-scrollbars",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))


class Uisp:
    """One browser in front of the demo at `url`."""

    def __init__(self, driver, url):
        self.driver = driver
        self.url = url

    # What happens behind the scenes.

    def begin(self, scene):
        """Everything starts anew, in a scene of the demo."""
        self.behind_the_scenes("begin", scene=scene)

    def behind_the_scenes(self, action, **inputs):
        body = urllib.parse.urlencode(inputs).encode()
        request = urllib.request.Request(f"{self.url}/demo/{action}", body)
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200

    def needed_by_the_form(self):
        """UISP's API token and the app key, as the admin finds them elsewhere."""
        self.driver.get(f"{self.url}/demo")
        return [self.driver.find_element(By.ID, name).text for name in ("token", "app-key")]

    # What an admin does.

    def log_in(self, user):
        self.driver.get(f"{self.url}/crm/login")
        self.click(self.driver.find_element(By.CSS_SELECTOR, f"button[value={user}]"))

    def open_plugin(self):
        self.driver.get(f"{self.url}/crm/system/plugins/{PLUGIN}")

    def fill(self, label, text):
        field = self.field(label)
        field.clear()
        field.send_keys(text)

    def field(self, label):
        path = f"//label[starts-with(normalize-space(), '{label}')]"
        name = self.driver.find_element(By.XPATH, path).get_attribute("for")
        return self.driver.find_element(By.ID, name)

    def press(self, label):
        """Presses a button of the plugin's page, and waits for what comes after it."""
        path = f"//button[normalize-space()='{label}']"
        self.click(self.driver.find_element(By.XPATH, path))

    def click(self, element):
        """Clicks, and waits until the page of the element is gone."""
        element.click()
        self.wait().until(expected_conditions.staleness_of(element))

    def log(self):
        """The log, as the plugin's page shows it in a frame that reloads itself."""
        return self.driver.execute_script(
            "const frame = document.querySelector('#log iframe').contentDocument;"
            "return frame?.querySelector('pre')?.textContent ?? ''"
        )

    def wait_for_log(self, pattern):
        """Waits for a line of the log, and returns the log."""

        def matches(_):
            log = self.log()
            return re.search(pattern, log) and log

        return self.wait().until(matches, f"no {pattern!r} in the log")

    def wait_for_progress(self):
        self.open_plugin()
        self.wait_for_log(r"[1-9]\d* %, ")

    # The plugin's page.

    def open_page(self, query=""):
        """The page alone, without UISP around it."""
        self.driver.get(f"{self.url}/crm/_plugins/{PLUGIN}/public.php{query}")

    def open_widget(self):
        """The widget alone."""
        self.driver.get(f"{self.url}/crm/")
        frame = self.driver.find_element(By.CSS_SELECTOR, "iframe.widget")
        self.driver.get(frame.get_attribute("src"))

    def open_menu(self, label):
        self.driver.get(f"{self.url}/crm/")
        self.click(self.driver.find_element(By.LINK_TEXT, label))

    @contextmanager
    def inside(self, frame):
        self.driver.switch_to.frame(self.driver.find_element(By.CSS_SELECTOR, frame))
        yield
        self.driver.switch_to.default_content()

    def text(self):
        return self.driver.find_element(By.TAG_NAME, "body").text

    def status(self):
        """The HTTP status that the document came with."""
        return self.driver.execute_script(
            "return performance.getEntriesByType('navigation')[0].responseStatus"
        )

    def wait_for_page(self, text):
        """Reloads the page until it says so."""

        def says(driver):
            driver.refresh()
            return text in self.text()

        self.wait().until(says, f"the page never says {text!r}, but: {self.text()}")

    def wait(self):
        # A browser that is just about to leave a page may have no answer at all; it is asked again.
        passing = [WebDriverException]
        return WebDriverWait(self.driver, SECONDS_MAX, 0.2, ignored_exceptions=passing)

    # How the browser shows it.

    def show(self, *, width=1000, height=900, scheme="light"):
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
        )

    # What went over the line.

    def forget_traffic(self):
        self.driver.get_log("browser")
        self.driver.get_log("performance")

    def complaints(self):
        """What the browser has written to its console since."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def foreign_requests(self):
        """Requests since to anything but the demo."""
        messages = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        urls = [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]
        own = (f"{self.url}/", "data:")
        return [url for url in urls if not url.startswith(own)]
