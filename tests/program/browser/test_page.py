"""The page and the widget in every state: what they say, and how they are built."""

import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By

MENU = "System: Backups in Dropbox"
FAILED = "The last run failed: "
# Scene, what its page says, and what its widget says.
STATES = {
    "no-key": ("step 1 of 3", "step 1 of 3"),
    "needs-code": ("step 2 of 3", "step 2 of 3"),
    "well": ("All 30 backups are in Dropbox.", "All 30 backups are in Dropbox."),
    "running": (" %", "A run is going on, since "),
    "failed": ("UISP does not accept the API token", FAILED),
    "unauthorized": ("no longer accepts", FAILED),
    "on-hold": ("on hold", "on hold"),
    "legacy": ("retires the kind of token", "retires the kind of token"),
    "overdue": ("No run since", "No run since"),
    "hostile": ("<script>", FAILED),
}
VIEWS = ("open_page", "open_widget")


@pytest.fixture(scope="module", params=STATES)
def state(request, browser):
    """A scene that all tests look at, without changing it."""
    browser.begin(request.param)
    browser.log_in("admin")
    if request.param == "running":
        browser.wait_for_progress()
    return request.param


@pytest.fixture
def uisp(state, browser):
    """An admin in front of the scene."""
    browser.show()
    browser.forget_traffic()
    return browser


def test_says_what_is_the_matter(uisp, state):
    for view, text in zip(VIEWS, STATES[state]):
        getattr(uisp, view)()
        assert uisp.status() == 200
        assert text in uisp.text(), view


def test_is_accessible_in_light_and_dark(uisp, state, axe):
    for view in VIEWS:
        getattr(uisp, view)()
        for scheme in ("light", "dark"):
            uisp.show(scheme=scheme)
            assert axe() == [], (view, scheme)


def test_fits_a_narrow_screen(uisp, state):
    def overflow():
        return uisp.driver.execute_script(
            "return document.documentElement.scrollWidth - window.innerWidth"
        )

    uisp.show(width=360, height=640)
    for view in VIEWS:
        getattr(uisp, view)()
        assert overflow() <= 0, view
    uisp.open_menu(MENU)
    with uisp.inside("iframe.page"):
        assert overflow() <= 0, "in UISP's frame"


def test_asks_nobody_else_and_leaves_no_complaint(uisp, state):
    uisp.open_page()
    uisp.open_widget()
    uisp.open_menu(MENU)
    with uisp.inside("iframe.page"):
        assert STATES[state][0] in uisp.text()
    assert uisp.foreign_requests() == []
    assert uisp.complaints() == []


def test_works_by_keyboard(uisp, state):
    uisp.open_page()
    links = uisp.driver.find_elements(By.CSS_SELECTOR, "a[href], button, summary, input")
    links = [link for link in links if link.is_displayed()]
    for link in links:
        ActionChains(uisp.driver).send_keys(Keys.TAB).perform()
        focused = uisp.driver.switch_to.active_element
        # A region that scrolls can be focused, too, so that it can be scrolled by keys.
        while focused != link and focused.get_attribute("tabindex") == "0":
            ActionChains(uisp.driver).send_keys(Keys.TAB).perform()
            focused = uisp.driver.switch_to.active_element
        assert focused == link, focused.get_attribute("outerHTML")
        assert focused.value_of_css_property("outline-style") != "none"


def test_runs_no_script_of_others(uisp, state):
    for view in VIEWS:
        getattr(uisp, view)()
        scripts = uisp.driver.find_elements(By.TAG_NAME, "script")
        assert ["public/page.js" in script.get_attribute("src") for script in scripts] == [True]
        assert uisp.driver.title != "script has run"
