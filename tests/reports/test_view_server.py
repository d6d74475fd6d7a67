"""The server of `flowbench view`: one folder, this machine, reading only. Every refusal is asked for over a socket."""

from __future__ import annotations

import http.client
import os
import socket
import threading
import time

import pytest
from galleries import write_scored

from flowbench.errors import ConfigError, MissingFile
from flowbench.reports import write_gallery
from flowbench.reports.pages.server import LOOPBACK, find_file, kind_of, make_server, serve

SECRET = "what lies outside"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A run with an evaluation, a secret beside it, and links of every kind; served."""
    top = tmp_path_factory.mktemp("view")
    run = top / "my run & <b>"
    evaluation = write_scored(run / "eval/things-1", lambda number, index: number > 3, label="<i>trained</i>")
    write_gallery(evaluation)
    (top / "secret.txt").write_text(SECRET)
    (run / "report.html").write_text("<p>curves</p>")
    (run / ".lock").write_text(SECRET)
    (run / "log.jsonl").write_text('{"step": 1}\n')
    (run / "out.txt").symlink_to(top / "secret.txt")
    (run / "up").symlink_to(top)
    (run / "inside.txt").symlink_to(run / "log.jsonl")
    (run / "circle").symlink_to(run / "circle")
    os.mkfifo(run / "pipe")
    server = make_server(run, 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield run, server.server_address[1]
    server.shutdown()
    server.server_close()


def ask(port, path, method="GET", **headers):
    """(status, headers, body) of one request; http.client sends the path as it stands."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def say(port, text):
    """The first line of the answer to bytes that no client would send."""
    with socket.create_connection((LOOPBACK, port), timeout=10) as connection:
        connection.sendall(text.encode("latin-1"))
        return connection.makefile("rb").readline().decode()


def test_files_come_as_they_are(world):
    run, port = world
    picture = "/eval/things-1/images/p%203%231.png"
    status, headers, body = ask(port, picture)
    assert (status, headers["Content-Type"]) == (200, "image/png")
    assert body == (run / "eval/things-1/images/p 3#1.png").read_bytes()
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert ask(port, "/report.html?x=1#y")[2] == b"<p>curves</p>"
    assert ask(port, "/inside.txt")[2] == b'{"step": 1}\n'  # a link that stays inside


def test_head_sends_no_body(world):
    _, port = world
    status, headers, body = ask(port, "/log.jsonl", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, "12", b"")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/eval/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..%5csecret.txt",
        "//../secret.txt",
        "/eval/%2e%2e/log.jsonl",
        "/.lock",
        "/out.txt",
        "/up/secret.txt",
        "/circle",
        "/pipe",
        "/eval",
        "/eval/",
        "/nothing",
        "/log.jsonl%00.html",
        "/C:/secret.txt",
        "/" + "x" * 5000,
    ],
)
def test_what_is_not_plainly_below_the_folder_is_refused(world, path):
    status, _, body = ask(world[1], path)
    assert status in (404, 414)
    assert SECRET.encode() not in body and b"step" not in body


def test_a_whole_url_and_bytes_that_are_no_text(world):
    assert " 404 " in say(world[1], "GET http://localhost/../secret.txt HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert " 404 " in say(world[1], "GET /%ff%fe HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert " 400 " in say(world[1], "GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert " 404 " in say(world[1], "GET secret.txt HTTP/1.1\r\nHost: localhost\r\n\r\n")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "127.0.0.1:80", "[::1]:8008"])
def test_this_machine_may_ask_by_any_port(world, host):
    assert ask(world[1], "/log.jsonl", Host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8008", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.2", "0.0.0.0",
     "", "localhost@evil.example", "localhost:8008:80", "localhost evil"],
)  # fmt: skip
def test_foreign_hosts_are_refused(world, host):
    status, _, body = ask(world[1], "/log.jsonl", Host=host)
    assert status == 403 and b"step" not in body


def test_no_host_and_two_hosts_are_refused(world):
    assert " 403 " in say(world[1], "GET /log.jsonl HTTP/1.0\r\n\r\n")
    assert " 403 " in say(world[1], "GET /log.jsonl HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get"])
def test_other_methods_are_refused(world, method):
    status, headers, _ = ask(world[1], "/log.jsonl", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(("later", "body"), [(b"123456789", b"12345"), (b"123", b"123")], ids=["grows", "shrinks"])
def test_a_file_that_changes_is_sent_as_announced(tmp_path, monkeypatch, later, body):
    """Never more than was announced; of one that shrinks, the connection ends, so that nothing can follow."""
    (tmp_path / "log.jsonl").write_bytes(b"12345")
    measure = os.fstat

    def measured(number):
        found = measure(number)
        (tmp_path / "log.jsonl").write_bytes(later)
        return found

    with make_server(tmp_path, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr("flowbench.reports.pages.server.os.fstat", measured)
        with socket.create_connection((LOOPBACK, server.server_address[1]), timeout=5) as connection:
            request = "GET /log.jsonl HTTP/1.1\r\nHost: localhost\r\n\r\n"
            connection.sendall(request.encode())
            answer = connection.makefile("rb")
            head = b"".join(iter(answer.readline, b"\r\n")).decode()
            assert "Content-Length: 5" in head
            if len(later) > 5:
                assert answer.read(5) == body
                connection.sendall(request.replace("log.jsonl", "none").encode())
                assert answer.readline().startswith(b"HTTP/1.1 404")
            else:
                assert answer.read() == body
        server.shutdown()


def test_a_stalled_reader_gets_nothing_else_into_its_body(tmp_path, monkeypatch, capsys):
    """Nor does a file that fails in the middle, and the terminal shows no traceback."""
    data = bytes(range(256)) * 40_000
    (tmp_path / "large.bin").write_bytes(data)
    monkeypatch.setattr("flowbench.reports.pages.server.Handler.timeout", 0.2)
    with make_server(tmp_path, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with socket.create_connection((LOOPBACK, server.server_address[1]), timeout=5) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = connection.makefile("rb")
            for _ in iter(answer.readline, b"\r\n"):
                pass
            time.sleep(1)
            got = answer.read()
        server.shutdown()
    assert got == data[: len(got)] and len(got) < len(data)
    assert capsys.readouterr().err == ""


def test_a_reader_that_leaves_shows_no_traceback(world, capsys):
    import struct

    for _ in range(5):
        with socket.create_connection((LOOPBACK, world[1]), timeout=10) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends with a reset
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
    assert ask(world[1], "/log.jsonl")[0] == 200
    assert capsys.readouterr().err == ""


def test_names_that_are_not_utf8(tmp_path):
    name = os.fsdecode(b"r\xffn <1>")
    (tmp_path / name).mkdir()
    (tmp_path / name / "report.html").write_text("<p>curves</p>")
    with make_server(tmp_path, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        _, _, page = ask(server.server_address[1], "/")
        assert b'href="/r%FFn%20%3C1%3E/report.html"' in page and b"r\\udcffn &lt;1&gt;" in page
        assert ask(server.server_address[1], "/r%FFn%20%3C1%3E/report.html")[2] == b"<p>curves</p>"
        server.shutdown()


def test_folders_that_go_while_they_are_looked_through(tmp_path, monkeypatch):
    from flowbench.reports.pages import index

    write_scored(tmp_path / "eval/things-1", lambda number, place: True)
    (tmp_path / "report.html").write_text("")

    def gone(folder):
        raise FileNotFoundError(folder)

    monkeypatch.setattr(index, "read_summary", gone)
    assert "report.html" in index.index_page(tmp_path)


def test_the_index_leads_to_every_page_and_escapes_names(world):
    _, port = world
    status, headers, body = ask(port, "/")
    page = body.decode()
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert 'href="/report.html"' in page and 'href="/eval/things-1/gallery.html"' in page
    assert "my run &amp; &lt;b&gt;" in page and "&lt;i&gt;trained&lt;/i&gt;" in page and "<i>" not in page
    # 20 of 24 prompts, both tags alike
    assert "official 0.833 [" in page
    assert ask(port, "/eval/things-1/gallery.html")[0] == 200


def test_the_index_of_an_empty_folder_and_of_a_strange_one(tmp_path):
    from flowbench.reports.pages.index import index_page

    assert "There is no training run" in index_page(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/summary.json").write_text('["not ours"]')
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn/summary.json").write_text("{")
    page = index_page(tmp_path)
    assert "mine" in page and "torn" in page and "none yet" in page


def test_only_loopback_listens(world, tmp_path):
    with make_server(tmp_path, 0) as server:
        assert server.server_address[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_an_error_when_it_was_asked_for(world, tmp_path):
    with pytest.raises(ConfigError, match=rf"--port {world[1]} is in use\. Give another one"):
        make_server(tmp_path, world[1])


def test_without_a_port_a_free_one_is_found(tmp_path, monkeypatch, world):
    monkeypatch.setattr("flowbench.reports.pages.server.DEFAULT_PORT", world[1])
    with make_server(tmp_path) as server:
        assert server.server_address[1] not in (0, world[1])


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(MissingFile, match="there is no such folder"):
        make_server(tmp_path / "none")


def test_ctrl_c_ends_it(tmp_path, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr("flowbench.reports.pages.server.ThreadingHTTPServer.serve_forever", interrupted)
    said: list[str] = []
    serve(tmp_path, port=None, progress=said.append)
    assert said[0].startswith("http://127.0.0.1:") and said[0].endswith("/")


def test_a_relative_root_and_a_linked_root(world, tmp_path, monkeypatch):
    run, _ = world
    (tmp_path / "link").symlink_to(run)
    with make_server(tmp_path / "link", 0):
        assert find_file((tmp_path / "link").resolve(), "/log.jsonl") == run / "log.jsonl"


def test_kinds(tmp_path):
    kinds = {name: kind_of(tmp_path / name) for name in ("a.html", "a.PNG", "a.yaml", "a.svg", "a.js", "a")}
    assert kinds["a.html"].startswith("text/html") and kinds["a.PNG"] == "image/png"
    assert kinds["a.yaml"].startswith("text/plain")
    assert kinds["a.svg"] == kinds["a.js"] == kinds["a"] == "application/octet-stream"  # nothing that could run
