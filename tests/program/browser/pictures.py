"""Makes the documentation's pictures from the demo: `pictures.py FOLDER`."""

import base64
import io
import os
import sys
from pathlib import Path

from PIL import Image

from uisp import Uisp, start_browser

WIDTH = 900
HEIGHT_MAX = 640
COLOURS = 64

# Scenes of the status page, and the schemes that its picture is taken in.
PAGES = {
    "needs-code": ["light"],
    "well": ["light", "dark"],
    "running": ["light"],
    "failed": ["light", "dark"],
    "unauthorized": ["light"],
    "on-hold": ["light"],
    "legacy": ["light"],
    "overdue": ["light"],
}
WIDGETS = ["well", "failed"]


class Album:
    """Takes pictures of what a browser shows."""

    def __init__(self, uisp, folder):
        self.uisp = uisp
        self.folder = folder

    def take(self, name, selector="html", height_max=None):
        """The first element that matches, whole or down to a height, with few colours."""
        driver = self.uisp.driver
        box = driver.execute_script(
            "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return {x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height}",
            selector,
        )
        box["height"] = min(box["height"], height_max or box["height"])
        shot = driver.execute_cdp_cmd(
            "Page.captureScreenshot",
            {"format": "png", "captureBeyondViewport": True, "clip": {**box, "scale": 1}},
        )
        image = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
        image = image.quantize(COLOURS, dither=Image.Dither.NONE)
        path = self.folder / f"{name}.png"
        image.save(path, optimize=True)
        print(f"{path.name}: {image.width}x{image.height}, {path.stat().st_size // 1000} kB")


def setup(uisp, album):
    """The form, the log with the link, the consent page, the code."""
    uisp.begin("newcomer")
    token, app_key = uisp.needed_by_the_form()
    uisp.log_in("admin")
    uisp.open_plugin()
    uisp.fill("UISP API token", token)
    uisp.fill("Dropbox app key", app_key)
    # No field shows the cursor.
    uisp.driver.execute_script("document.activeElement.blur()")
    album.take("form", "#configuration")
    uisp.press("Save")
    uisp.press("Enable")
    uisp.wait_for_log(r"/oauth2/authorize\?")
    album.take("log", "#log")
    link = next(word for word in uisp.log().split() if "/oauth2/authorize?" in word)
    uisp.driver.get(link)
    album.take("consent", "main")
    uisp.press("Allow")
    album.take("code", "main")


def states(uisp, album):
    """The status page and the widget."""
    for scene, schemes in PAGES.items():
        uisp.show(width=WIDTH)
        uisp.begin(scene)
        uisp.log_in("admin")
        if scene == "running":
            uisp.wait_for_progress()
        for scheme in schemes:
            uisp.show(width=WIDTH, scheme=scheme)
            uisp.open_page()
            suffix = "" if scheme == "light" else f"-{scheme}"
            album.take(f"status-{scene}{suffix}", height_max=HEIGHT_MAX)
        if scene in WIDGETS:
            uisp.show(width=500)
            uisp.driver.get(f"{uisp.url}/crm/")
            with uisp.inside("iframe.widget"):
                assert uisp.text()
            album.take(f"widget-{scene}", "iframe.widget")


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    driver = start_browser()
    try:
        uisp = Uisp(driver, os.environ["DEMO_URL"])
        uisp.show(width=WIDTH)
        album = Album(uisp, folder)
        setup(uisp, album)
        states(uisp, album)
    finally:
        driver.quit()


main()
