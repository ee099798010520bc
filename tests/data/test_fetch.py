"""Files become whole or not at all; tools and hosts fail in seconds, in one line."""

import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from qstudy.data import fetch


def test_named_folder(tmp_path, monkeypatch):
    assert fetch.named_folder() is None
    monkeypatch.setenv("QSTUDY_DATA", str(tmp_path))
    assert fetch.named_folder() == tmp_path.resolve()
    (tmp_path / "other").mkdir()
    other = fetch.named_folder(tmp_path / "other")
    assert other == (tmp_path / "other").resolve(), "an argument comes first"
    with pytest.raises(fetch.DataError, match="is not a folder"):
        fetch.named_folder(tmp_path / "absent")


def test_cache_folder_is_the_platforms():
    assert "qstudy" in fetch.cache_folder().parts


def test_scratch_vanishes_when_its_body_fails(tmp_path):
    with pytest.raises(KeyError), fetch.scratch(tmp_path) as temporary:
        (temporary / "half").write_text("half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_scratch_sweeps_what_a_killed_process_left_and_spares_the_living(tmp_path):
    old, new = (tmp_path / f"{fetch.SCRATCH_PREFIX}{n}" for n in ("old", "new"))
    for folder in (old, new):
        folder.mkdir()
        (folder / "half").write_text("half")
    long_ago = time.time() - 2 * fetch.ABANDONED_SECONDS
    os.utime(old, (long_ago, long_ago))
    with fetch.scratch(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == [new]


def test_scratch_of_another_process_may_go_while_it_is_looked_at(tmp_path, monkeypatch):
    gone = tmp_path / f"{fetch.SCRATCH_PREFIX}gone"
    monkeypatch.setattr(type(tmp_path), "glob", lambda *_: iter([gone]))
    with fetch.scratch(tmp_path) as temporary:
        assert temporary.is_dir()


def test_scratch_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(fetch.DataError, match="cannot write to"),
        fetch.scratch(tmp_path / "file" / "below"),
    ):
        pass


def test_put_in_place_replaces(tmp_path):
    (tmp_path / "new").write_text("new")
    (tmp_path / "kept").write_text("old")
    fetch.put_in_place(tmp_path / "new", tmp_path / "kept")
    assert (tmp_path / "kept").read_text() == "new"
    assert not (tmp_path / "new").exists()


def test_download(server, tmp_path):
    site, address = server
    content = os.urandom(1_000_000)
    (site / "file").write_bytes(content)
    fetch.download(f"{address}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == content


def test_download_of_what_is_not_there(server, tmp_path):
    _, address = server
    with pytest.raises(fetch.Unreachable, match="404"):
        fetch.download(f"{address}/absent", tmp_path / "file")


def test_download_that_breaks_off_is_damaged(tmp_path):
    class Liar(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 10)

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Liar) as web:
        thread = threading.Thread(target=web.handle_request)
        thread.start()
        with pytest.raises(fetch.Damaged, match="broke off"):
            fetch.download(f"http://127.0.0.1:{web.server_port}/", tmp_path / "file")
        thread.join()


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        (
            "import sys; sys.exit('npm error code ENOTFOUND')",
            fetch.Unreachable,
            "ENOTF",
        ),
        ("import sys; sys.exit('No module named pip')", fetch.Unreachable, "No module"),
        ("import sys; sys.exit(3)", fetch.Unreachable, "exit code 3"),
        ("import time; time.sleep(60)", fetch.Unreachable, "did not answer"),
        ("import sys; sys.exit('npm error code ENOSPC')", OSError, "no space"),
    ],
)
def test_tools_that_fail(script, error, message):
    with pytest.raises(error, match=message):
        fetch.run_tool((sys.executable, "-c", script), name="npm", seconds=2)


def test_tool_that_is_missing():
    with pytest.raises(fetch.Unreachable, match="npm is not installed"):
        fetch.run_tool(("no-such-program",), name="npm", seconds=1)


def test_first_of_goes_on_and_gives_every_reason(capfd):
    def away():
        raise fetch.Unreachable("a: away")

    asked = []

    def broken_once():
        asked.append(1)
        if len(asked) == 1:
            raise fetch.Damaged("b: broken")
        return "good"

    sources = [("a", away), ("b", broken_once)]
    assert fetch.first_of("it", sources) == "good"
    assert capfd.readouterr().err.count("fetching from") == 3
    with pytest.raises(fetch.Unreachable, match="a: away; a: away"):
        fetch.first_of("it", [("a", away), ("a", away)])


def test_first_of_stops_at_a_full_disk():
    def full():
        raise fetch.DataError("disk")

    with pytest.raises(fetch.DataError, match="disk"):
        fetch.first_of("it", [("a", full), ("b", lambda: "never")])
