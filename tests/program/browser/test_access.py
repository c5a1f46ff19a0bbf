"""Who gets to see the plugin's page, which the host does not protect."""

def test_admins_who_may_view_plugins_see_the_page(uisp):
    uisp.begin("needs-code")
    for user in ("admin", "viewer"):
        uisp.log_in(user)
        uisp.open_page()
        assert uisp.status() == 200, user
        uisp.open_widget()
        assert uisp.status() == 200, user


def test_others_are_refused_and_told_nothing(uisp):
    uisp.begin("well")
    for user in ("billing", "client", None):
        uisp.driver.delete_all_cookies()
        if user:
            uisp.log_in(user)
        for query in ("", "?widget=1"):
            uisp.open_page(query)
            assert uisp.status() == 403, user
            for word in ("unms-backup", "/oauth2/", "refresh", "/tmp"):
                assert word not in uisp.driver.page_source, user


def test_a_session_that_has_ended_is_refused(uisp):
    uisp.begin("needs-code")
    uisp.log_in("admin")
    # Begun anew, the host does not know the session any more.
    uisp.begin("needs-code")
    uisp.open_page()
    assert uisp.status() == 403
