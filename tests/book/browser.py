"""Headless Chromium, with the network off."""

import os
import shutil
import subprocess

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needed = pytest.mark.skipif(
    not CHROMIUM, reason="no Chromium here: apt-get install chromium"
)


OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-quic", "--host-resolver-rules=MAP * ~NOTFOUND"),
)


def rendered(page, profile, *, milliseconds=15000, width=1200):
    """The document of the file `page` after its scripts ran; `profile` is a folder."""
    done = subprocess.run(
        [
            *(CHROMIUM, *OPTIONS),
            f"--user-data-dir={os.fspath(profile)}",
            f"--window-size={width},900",
            *(f"--virtual-time-budget={milliseconds}", "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    return done.stdout
