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
