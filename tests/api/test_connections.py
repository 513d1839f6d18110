"""Connections that are slow, broken, reused or go through a proxy."""

import socket
import threading
import time

import pytest

from komfortkasse_django.api import connections
from komfortkasse_django.client import Client
from komfortkasse_django.exceptions import (
    ConnectionFailed,
    DeadlineExceeded,
    UnexpectedAnswer,
)
from tests.support.calls import ANSWER, KEY, client_of, error_json, failure, first, within
from tests.support.loopback import Server, always, http_answer, order_json

DEADLINE = 0.3


def test_closing_what_is_read_closes_it_all():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        raw = ours.makefile("rb", buffering=0)
        wire = connections._Wire(ours, raw)
        wire.close()
        assert wire.closed
        assert raw.closed


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("dripping", [False, True])
def test_a_tls_handshake_that_never_ends(dripping):
    def script(connection):
        if dripping:
            connection.drip(b"\x16\x03\x03\x40\x00" + b"\x02\x00\x3f\xf0" + b"\x03" * 99)
        connection.wait(30)

    with Server(script) as server:
        client = Client(
            api_key=KEY, api_url=server.url.replace("http:", "https:"), deadline=DEADLINE
        )
        started = time.monotonic()
        assert type(failure(client)) is DeadlineExceeded
        within(DEADLINE, started)


def slow_to_connect(seconds):
    def create_connection(address, timeout, **kwargs):
        time.sleep(seconds)
        return socket.create_connection(address, timeout)

    return create_connection


@pytest.mark.usefixtures("trusted")
def test_a_tls_handshake_has_what_connecting_left(monkeypatch):
    with Server(lambda connection: connection.wait(30)) as server:
        monkeypatch.setattr(connections, "create_connection", slow_to_connect(1.5))
        url = server.url.replace("http:", "https:")
        client = Client(api_key=KEY, api_url=url, deadline=2)
        started = time.monotonic()
        assert type(failure(client)) is DeadlineExceeded
        assert time.monotonic() - started < 3.3


@pytest.mark.usefixtures("trusted")
def test_a_dripping_server_behind_tls(tls):
    with Server(first(lambda connection: connection.drip(ANSWER)), tls=tls) as server:
        client = client_of(server)
        started = time.monotonic()
        assert type(failure(client, deadline=DEADLINE)) is DeadlineExceeded
        within(DEADLINE, started)
        client.remove_order("1001")


def test_a_name_that_is_never_resolved(monkeypatch):
    done = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: [] * done.wait(30))
    started = time.monotonic()
    client = Client(api_key=KEY, api_url="http://komfortkasse.test/api", deadline=DEADLINE)
    assert type(failure(client)) is DeadlineExceeded
    within(DEADLINE, started)
    done.set()


def test_an_address_that_swallows_everything_leaves_time_for_the_next(monkeypatch):
    connect = connections.create_connection
    tried = []

    def create_connection(address, timeout, **kwargs):
        tried.append((address[0], timeout))
        if address[0] != "127.0.0.1":
            time.sleep(timeout)
            raise TimeoutError
        return connect(address, timeout, **kwargs)

    with Server(always(ANSWER)) as server:
        monkeypatch.setattr(connections, "create_connection", create_connection)
        monkeypatch.setattr(
            connections, "look_up", lambda *_: ["192.0.2.1", "192.0.2.2", "127.0.0.1"]
        )
        client_of(server, deadline=1.8).remove_order("1001")
    assert [address for address, _ in tried] == ["192.0.2.1", "192.0.2.2", "127.0.0.1"]
    assert tried[0][1] == pytest.approx(0.6, abs=0.3)
    assert tried[1][1] == pytest.approx(0.6, abs=0.3)


def test_no_address_answers_in_time(monkeypatch):
    def create_connection(_address, timeout, **_kwargs):
        time.sleep(timeout)
        raise TimeoutError

    monkeypatch.setattr(connections, "create_connection", create_connection)
    monkeypatch.setattr(connections, "look_up", lambda *_: ["192.0.2.1", "192.0.2.2"])
    started = time.monotonic()
    client = Client(api_key=KEY, api_url="http://komfortkasse.test/api", deadline=DEADLINE)
    assert type(failure(client)) is DeadlineExceeded
    within(DEADLINE, started)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_that_comes_too_late(scheme, monkeypatch):
    with Server(always(ANSWER)) as server:
        monkeypatch.setattr(connections, "create_connection", slow_to_connect(0.2))
        url = server.url.replace("http:", f"{scheme}:")
        client = Client(api_key=KEY, api_url=url, deadline=0.1)
        assert type(failure(client)) is DeadlineExceeded


def test_a_connection_that_is_closed_without_an_answer():
    with Server(lambda connection: connection.read_request()) as server:
        error = failure(client_of(server))
        assert type(error) is ConnectionFailed
        assert error.status is None
        assert server.connections == 1


@pytest.mark.parametrize("reading", [False, True])
def test_a_connection_that_is_reset(reading):
    def script(connection):
        if reading:
            connection.read_request()
        connection.reset()

    with Server(script) as server:
        assert type(failure(client_of(server))) is ConnectionFailed
        assert server.connections == 1


def test_a_reset_in_the_middle_of_an_answer():
    def waste(connection):
        connection.send(ANSWER[:-5])
        connection.wait(0.1)
        connection.reset()

    with Server(first(waste)) as server:
        client = client_of(server)
        assert type(failure(client)) is UnexpectedAnswer
        client.remove_order("1001")


def test_a_port_on_which_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = failure(Client(api_key=KEY, api_url=f"http://127.0.0.1:{port}/api"))
    assert type(error) is ConnectionFailed
    assert str(error) == "No connection to Komfortkasse (Connection refused)"


def test_a_host_that_does_not_exist(monkeypatch):
    def getaddrinfo(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    error = failure(Client(api_key=KEY, api_url="http://komfortkasse.invalid/api"))
    assert type(error) is ConnectionFailed
    assert str(error) == "No connection to Komfortkasse (Name or service not known)"


def test_a_host_without_addresses(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: [])
    error = failure(Client(api_key=KEY, api_url="http://komfortkasse.invalid/api"))
    assert type(error) is ConnectionFailed
    assert str(error) == "No connection to Komfortkasse"


def kept_alive(last_words):
    """Return a script that answers once, then ends the first connection at the next request."""

    def script(connection):
        connection.read_request()
        connection.send(ANSWER)
        if connection.number > 1:
            always(ANSWER)(connection)
        elif connection.read_request():
            last_words(connection)

    return script


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_dead_connection_costs_a_second_try(end):
    with Server(kept_alive(lambda c: c.reset() if end == "reset" else None)) as server:
        client = client_of(server)
        for _ in range(3):
            assert client.remove_order("1001").number == "1001"
        assert server.connections == 2
        assert len(server.requests) == 4


def test_a_connection_closed_while_idle():
    closed = threading.Event()

    def script(connection):
        connection.read_request()
        connection.send(ANSWER)
        connection.sock.shutdown(socket.SHUT_RDWR)
        closed.set()

    with Server(script) as server:
        client = client_of(server)
        for _ in range(3):
            client.remove_order("1001")
            assert closed.wait(5)
            closed.clear()
        assert server.connections == 3


def test_only_one_second_try():
    def script(connection):
        connection.read_request()
        if connection.number == 1:
            connection.send(ANSWER)
            connection.read_request()

    with Server(script) as server:
        client = client_of(server)
        client.remove_order("1001")
        assert type(failure(client)) is ConnectionFailed
        assert server.connections == 2
        assert len(server.requests) == 3


def test_no_second_try_after_part_of_an_answer():
    with Server(kept_alive(lambda connection: connection.send(ANSWER[:9]))) as server:
        client = client_of(server)
        client.remove_order("1001")
        assert type(failure(client)) is UnexpectedAnswer
        assert len(server.requests) == 2


def test_no_second_try_and_no_second_deadline_for_a_silent_server():
    with Server(kept_alive(lambda connection: connection.wait(30))) as server:
        client = client_of(server)
        client.remove_order("1001")
        started = time.monotonic()
        assert type(failure(client, deadline=DEADLINE)) is DeadlineExceeded
        within(DEADLINE, started)
        assert len(server.requests) == 2
        client.remove_order("1001")


def test_the_second_try_has_what_is_left_of_the_deadline():
    def script(connection):
        connection.read_request()
        if connection.number == 1:
            connection.send(ANSWER)
            connection.read_request()
            connection.wait(1.5)
        else:
            connection.drip(ANSWER)

    with Server(script) as server:
        client = client_of(server)
        client.remove_order("1001")
        started = time.monotonic()
        assert type(failure(client, deadline=2)) is DeadlineExceeded
        assert time.monotonic() - started < 3.3
        assert server.connections == 2


@pytest.mark.usefixtures("trusted")
def test_tls_connections_are_reused_and_renewed(tls):
    with Server(kept_alive(lambda _connection: None), tls=tls) as server:
        client = client_of(server)
        for _ in range(3):
            client.remove_order("1001")
        assert server.connections == 2


def test_an_untrusted_certificate(tls):
    with Server(always(ANSWER), tls=tls) as server:
        error = failure(client_of(server))
    assert type(error) is ConnectionFailed
    assert "certificate verify failed" in str(error)
    assert not server.requests


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_missing_ca_bundle(variable, tls, tmp_path, monkeypatch):
    missing = str(tmp_path / "missing.pem")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv(variable, missing)
    with Server(always(ANSWER), tls=tls) as server:
        error = failure(client_of(server))
    assert type(error) is ConnectionFailed
    assert str(error) == (f"No connection to Komfortkasse: the CA bundle {missing} does not exist")


def test_a_ca_bundle_without_certificates(tls, tmp_path, monkeypatch):
    (tmp_path / "empty.pem").touch()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "empty.pem"))
    with Server(always(ANSWER), tls=tls) as server:
        assert "no certificate or crl found" in str(failure(client_of(server)))


def test_a_folder_of_certificates_is_a_ca_bundle(tls, tmp_path, monkeypatch):
    """The bundle is valid, but does not contain the right certificate."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    with Server(always(ANSWER), tls=tls) as server:
        error = failure(client_of(server))
    assert "certificate verify failed" in str(error)
    assert "CA bundle" not in str(error)


def test_a_missing_ca_bundle_does_not_matter_without_tls(monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    with Server(always(ANSWER)) as server:
        client_of(server).remove_order("1001")
    assert "CA bundle" not in str(failure(client_of(server)))


@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_another_host(tls):
    with Server(always(ANSWER), tls=tls) as server:
        url = server.url.replace("localhost", "127.0.0.1")
        assert type(failure(Client(api_key=KEY, api_url=url))) is ConnectionFailed
    assert not server.requests


def test_a_server_without_tls():
    with Server(lambda connection: connection.send(b"HTTP/1.1 400 Bad\r\n\r\n")) as server:
        url = server.url.replace("http:", "https:")
        assert type(failure(Client(api_key=KEY, api_url=url))) is ConnectionFailed


@pytest.fixture
def proxied(monkeypatch):
    """Return a function that starts a proxy, with a script for the answer to CONNECT."""

    def start(script):
        proxy = Server(script)
        monkeypatch.setenv("HTTPS_PROXY", f"http://localhost:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        return proxy

    return start


def proxied_client(deadline=10.0):
    return Client(api_key=KEY, api_url="https://localhost/api/v2", deadline=deadline)


ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.mark.usefixtures("trusted")
def test_a_tunnel_through_a_proxy(tls, proxied):
    def script(connection):
        connection.read_request()
        connection.send(ESTABLISHED)
        with tls.wrap_socket(connection.sock, server_side=True) as connection.sock:
            for _ in range(2):
                connection.read_request()
                connection.send(ANSWER)

    with proxied(script) as proxy:
        client = proxied_client()
        for _ in range(2):
            assert client.remove_order("1001").number == "1001"
        assert proxy.connections == 1
    assert proxy.requests[0].startswith(b"CONNECT localhost:443 HTTP/1.")
    assert KEY.encode() not in proxy.requests[0]
    assert KEY.encode() in proxy.requests[1]


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 407 secret\r\n\r\n", b"secret\r\n\r\n", b"HTTP/", b""]
)
def test_a_proxy_that_refuses(answer, proxied):
    def script(connection):
        connection.read_request()
        connection.send(answer)

    with proxied(script):
        error = failure(proxied_client())
    assert type(error) is ConnectionFailed
    assert "secret" not in str(error)


def test_no_tls_behind_a_proxy(proxied):
    def script(connection):
        connection.read_request()
        connection.send(ESTABLISHED)
        connection.send(b"no TLS at all")

    with proxied(script):
        assert type(failure(proxied_client())) is ConnectionFailed


@pytest.mark.parametrize("pause", [0.05, 0])
def test_a_proxy_that_drips(pause, proxied):
    def script(connection):
        connection.read_request()
        # Without a pause, the handshake starts late.
        connection.wait(0.0 if pause else 1.5)
        connection.drip(ESTABLISHED, pause)
        connection.wait(30)

    with proxied(script):
        started = time.monotonic()
        assert type(failure(proxied_client(2))) is DeadlineExceeded
        assert time.monotonic() - started < 3.3


def test_a_socks_proxy_keeps_connections_of_its_own_kind(monkeypatch):
    """Our connections would bypass it. PySocks, which it needs, may be missing."""

    class SOCKSProxyManager:
        pool_classes_by_scheme = "its own"

        def __init__(self, *_args, **_kwargs):
            pass

    monkeypatch.setattr(connections.requests.adapters, "SOCKSProxyManager", SOCKSProxyManager)
    adapter = connections.Adapter()
    for scheme in ("socks5", "SOCKS5h", "socks4"):
        manager = adapter.proxy_manager_for(f"{scheme}://localhost:1080")
        assert manager.pool_classes_by_scheme == "its own"


def test_a_thread_reuses_its_connection_and_shares_none():
    ready = threading.Barrier(3)
    with Server(always(http_answer(order_json()))) as server:
        client = Client(api_key=KEY, api_url=server.url)

        def work():
            client.remove_order("1001")
            ready.wait(5)
            for _ in range(4):
                client.remove_order("1001")

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(server.requests) == 15
        assert server.connections == 3


def test_errors_of_the_contract_keep_the_connection():
    def script(connection):
        for status in (400, 401, 404, 429, 503, 200):
            connection.read_request()
            body = order_json() if status == 200 else error_json()
            connection.send(http_answer(body, status=f"{status} X"))

    with Server(script) as server:
        client = Client(api_key=KEY, api_url=server.url)
        for status in (400, 401, 404, 429, 503):
            assert failure(client).status == status
        client.remove_order("1001")
        assert server.connections == 1


def test_two_clients_share_nothing():
    with Server(always(http_answer(order_json()))) as server:
        for key in ("first", "second"):
            Client(api_key=key, api_url=server.url).remove_order("1001")
    first, second = server.requests
    assert b": first\r\n" in first
    assert b": second\r\n" in second


def test_cookies_are_neither_kept_nor_sent():
    with Server(always(http_answer(order_json(), "Set-Cookie: a=b; Path=/"))) as server:
        client = Client(api_key=KEY, api_url=server.url)
        for _ in range(2):
            client.remove_order("1001")
        assert not client._local.session.cookies
    assert b"cookie" not in server.requests[1].lower()


def test_netrc_is_not_used(tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password something\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with Server(always(http_answer(order_json()))) as server:
        Client(api_key=KEY, api_url=server.url).remove_order("1001")
    assert b"authorization" not in server.requests[0].lower()


def test_the_proxy_of_the_environment_is_used(monkeypatch):
    with Server(always(http_answer(order_json()))) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:pass@localhost:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        client = Client(api_key=KEY, api_url="http://komfortkasse.test/api/v2")
        for _ in range(2):
            client.remove_order("1001")
        assert proxy.connections == 1
    assert proxy.requests[0].startswith(
        b"POST http://komfortkasse.test/api/v2/order/remove/1001 HTTP/1.1\r\n"
    )
    assert b"Proxy-Authorization: Basic " in proxy.requests[0]


def test_a_socks_proxy_is_left_to_urllib3(monkeypatch):
    """Our connections would bypass it."""
    monkeypatch.setenv("ALL_PROXY", "socks5://localhost:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Server(always(http_answer(order_json()))) as server:
        assert type(failure(Client(api_key=KEY, api_url=server.url))) is ConnectionFailed
        assert server.connections == 0
