"""One browser for all tests; each test begins a scene of its own."""

import os
from importlib.resources import files

import pytest

from uisp import Uisp, start_browser


@pytest.fixture(scope="session")
def driver():
    driver = start_browser()
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def browser(driver):
    """The browser in front of the demo."""
    return Uisp(driver, os.environ["DEMO_URL"])


@pytest.fixture
def uisp(browser):
    """Somebody who is not logged in."""
    browser.driver.delete_all_cookies()
    browser.show()
    browser.forget_traffic()
    return browser


@pytest.fixture(scope="session")
def axe_source():
    return files("axe_playwright_python").joinpath("axe.min.js").read_text()


@pytest.fixture
def axe(driver, axe_source):
    """Looks for violations in the document, or the frame, that the browser is in."""
    check = """
        const done = arguments[arguments.length - 1];
        const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
        axe.run(document, {runOnly: tags}).then(
            found => done(found.violations.map(violation =>
                violation.id + ': ' + violation.nodes.map(node => node.html).join(' '))),
            error => done(['axe itself failed: ' + error]));
    """

    def violations():
        driver.execute_script(axe_source)
        return driver.execute_async_script(check)

    return violations
