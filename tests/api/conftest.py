import ssl

import pytest
import responses
import trustme

from komfortkasse_django.client import Client
from tests.support.calls import KEY, URL


@pytest.fixture
def client():
    return Client(api_key=KEY, api_url=URL)


@pytest.fixture
def service():
    """Answer instead of Komfortkasse. Any other request fails the test."""
    with responses.RequestsMock() as mock:
        yield mock


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def trusted(authority, tmp_path, monkeypatch):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
