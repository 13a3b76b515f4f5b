"""Downloads where there is no network end soon, with one line."""

import threading

import pytest

from jaxdl import data
from jaxdl.data import network


def test_without_a_network_one_line_says_so_soon(tmp_path, monkeypatch):
    def refused(server, timeout):
        assert timeout <= 10
        raise OSError("no route")

    monkeypatch.setattr("socket.create_connection", refused)
    message = r"^the data set mnist is not in .* cannot be reached to download it: .*, and copy the folder here$"
    with pytest.raises(RuntimeError, match=message):
        data.load("mnist", folder=str(tmp_path))


def test_a_server_that_does_not_answer_is_given_up(monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(network, "SECONDS", 0.01)
    monkeypatch.setattr(network, "getproxies", dict)
    monkeypatch.setattr("socket.create_connection", lambda *_: released.wait())
    assert network.unreachable(["https://nowhere.example/a", "https://nowhere.example/b"]) == "nowhere.example"
    assert network.unreachable([]) == ""
    released.set()


def test_a_proxy_takes_the_place_of_the_servers(monkeypatch):
    asked = []

    class Connection:
        def close(self):
            asked.append("closed")

    monkeypatch.setattr(network, "getproxies", lambda: {"https": "http://proxy.example:3128"})
    monkeypatch.setattr("socket.create_connection", lambda server, _: asked.append(server) or Connection())
    assert network.unreachable(["https://a.example/x", "https://b.example/y"]) == ""
    assert asked == [("proxy.example", 3128), "closed"]


def test_retries_are_few_and_silent():
    from tensorflow_datasets.core.download import downloader

    before = downloader.MAX_RETRIES
    with network.few_retries():
        assert before > downloader.MAX_RETRIES
    assert before == downloader.MAX_RETRIES
