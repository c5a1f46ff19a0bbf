"""What can be done on the page, by whom."""

from selenium.webdriver.common.by import By


def forms(uisp):
    return uisp.driver.find_elements(By.TAG_NAME, "form")


def test_a_run_can_be_asked_for_inside_of_uisps_frame(uisp):
    uisp.begin("overdue")
    uisp.log_in("admin")
    uisp.open_menu("System: Backups in Dropbox")
    with uisp.inside("iframe.page"):
        assert "No run since" in uisp.text()
        uisp.press("Run now")
    uisp.open_page()
    uisp.wait_for_page("Last run today")


def test_the_form_is_one_click_away(uisp):
    uisp.begin("failed")
    uisp.log_in("admin")
    uisp.open_menu("System: Backups in Dropbox")
    with uisp.inside("iframe.page"):
        assert "The last run failed: UISP does not accept the API token." in uisp.text()
        uisp.driver.find_element(By.LINK_TEXT, "Open the plugin's form").click()
    uisp.wait().until(lambda _: uisp.field("UISP API token"))


def test_the_page_keeps_itself_up_to_date(uisp):
    uisp.begin("overdue")
    uisp.log_in("admin")
    uisp.open_page()
    headline = uisp.driver.find_element(By.TAG_NAME, "h1").text
    # As if the page were older than what there is to say, and a run going on: then it looks every five seconds.
    uisp.driver.execute_script(
        "const main = document.querySelector('main');"
        "Object.assign(main.dataset, {state: 'another', busy: 'yes'});"
        "main.querySelector('h1').textContent = 'older';"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    news = uisp.driver.find_element(By.ID, "news")
    uisp.wait().until(lambda _: news.get_attribute("textContent") == headline)
    assert uisp.driver.find_element(By.TAG_NAME, "h1").text == headline


def test_who_fills_in_a_form_is_not_disturbed(uisp):
    uisp.begin("needs-code")
    uisp.log_in("admin")
    uisp.open_page()
    uisp.driver.execute_script("document.querySelector('main').dataset.busy = 'yes'")
    uisp.fill("Paste the code here", "half a co")
    uisp.driver.execute_script("document.dispatchEvent(new Event('visibilitychange')); window.asked = performance.getEntriesByType('resource').length")
    uisp.wait().until(lambda driver: driver.execute_script("return performance.getEntriesByType('resource').length > window.asked"))
    assert uisp.field("Paste the code here").get_attribute("value") == "half a co"


def test_the_guide_is_there_without_a_login(uisp, axe):
    uisp.begin("well")
    uisp.forget_traffic()
    for width in (360, 1000):
        uisp.show(width=width)
        uisp.open_page("/../public/restore.html")
        assert "How to get a backup back" in uisp.text() and axe() == []
        assert uisp.driver.execute_script("return document.documentElement.scrollWidth - innerWidth") <= 0
    assert uisp.foreign_requests() == [] and uisp.complaints() == []


def test_what_is_on_hold_is_deleted_after_a_tick(uisp):
    uisp.begin("on-hold")
    uisp.log_in("admin")
    uisp.open_page()
    held = len(uisp.driver.find_elements(By.CSS_SELECTOR, ".held li"))
    assert held > 10
    button = uisp.driver.find_element(By.XPATH, "//button[starts-with(normalize-space(), 'Delete ')]")
    assert button.text.startswith(f"Delete {held} files (")
    # The browser itself asks for the tick.
    button.click()
    assert forms(uisp) and "You agreed" not in uisp.text()
    uisp.driver.find_element(By.ID, "sure").click()
    uisp.click(button)
    uisp.wait_for_page(f", {held} deleted")
    assert "On hold" not in uisp.text()


def test_who_may_only_look_gets_no_form(uisp):
    for scene in ("on-hold", "needs-code"):
        uisp.begin(scene)
        uisp.log_in("viewer")
        uisp.open_page()
        assert uisp.status() == 200 and forms(uisp) == []
        uisp.log_in("admin")
        uisp.open_page()
        assert forms(uisp) != []
        uisp.open_widget()
        assert forms(uisp) == []
