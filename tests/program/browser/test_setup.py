"""From an empty form to the first mirrored backup, in a browser."""

import re

from selenium.webdriver.common.by import By


def allow(uisp, link):
    """Follows the link in a window of its own, allows, and returns the code that Dropbox shows."""
    driver = uisp.driver
    here = driver.current_window_handle
    driver.switch_to.new_window("tab")
    driver.get(link)
    uisp.press("Allow")
    code = driver.find_element(By.ID, "auth-code").get_attribute("value")
    driver.close()
    driver.switch_to.window(here)
    return code


def link_of(text):
    return re.search(r"\S+/oauth2/authorize\?\S+", text).group()


def test_a_newcomer_gets_to_the_first_mirrored_backups(uisp):
    uisp.begin("newcomer")
    token, app_key = uisp.needed_by_the_form()
    uisp.log_in("admin")
    uisp.open_plugin()
    uisp.fill("UISP API token", token)
    uisp.fill("Dropbox app key", app_key)
    uisp.press("Save")
    uisp.press("Enable")
    # Saving alone has brought the link.
    link = link_of(uisp.wait_for_log(r"/oauth2/authorize\?"))

    uisp.open_page()
    on_page = uisp.driver.find_element(By.CSS_SELECTOR, "a[href*='/oauth2/authorize?']")
    assert on_page.get_attribute("href") == link

    code = allow(uisp, link)
    uisp.open_plugin()
    uisp.fill("Dropbox access code", code)
    uisp.press("Save")
    # The code is exchanged and the first run is planned; nobody presses "Execute manually".
    uisp.wait_for_log("Finished: 3 uploaded")
    assert uisp.field("Dropbox access code").get_attribute("value") == ""
    assert uisp.field("Dropbox refresh token").get_attribute("value") != ""

    uisp.open_page()
    uisp.wait_for_page("All 3 backups are in Dropbox")
    uisp.open_widget()
    assert "All 3 backups are in Dropbox" in uisp.text()


def test_the_code_can_be_used_on_the_page(uisp):
    uisp.begin("needs-code")
    uisp.log_in("admin")
    uisp.open_page()
    link = uisp.driver.find_element(By.CSS_SELECTOR, "a[href*='/oauth2/authorize?']").get_attribute("href")
    uisp.fill("Paste the code here", "a-wrong-code-of-a-plausible-length-and-form")
    uisp.press("Connect")
    assert "Dropbox refused the access code" in uisp.text()
    uisp.fill("Paste the code here", allow(uisp, link))
    uisp.press("Connect")
    uisp.wait_for_page("All 3 backups are in Dropbox")


def test_after_an_expired_code_the_link_is_there_again(uisp):
    uisp.begin("needs-code")
    uisp.log_in("admin")
    uisp.open_plugin()
    code = allow(uisp, link_of(uisp.wait_for_log(r"/oauth2/authorize\?")))
    uisp.behind_the_scenes("hour")
    uisp.fill("Dropbox access code", code)
    uisp.press("Save")
    log = uisp.wait_for_log("Dropbox refused the access code")
    link = link_of(log[log.index("Dropbox refused the access code") :])
    assert uisp.field("Dropbox access code").get_attribute("value") == ""

    uisp.open_page()
    assert uisp.driver.find_element(By.CSS_SELECTOR, f"a[href='{link}']")
    uisp.open_plugin()
    uisp.fill("Dropbox access code", allow(uisp, link))
    uisp.press("Save")
    uisp.wait_for_log("Finished: 3 uploaded")
