import pytest


@pytest.fixture
def two_shops(configure):
    configure(aliases={"a": {}, "b": {}, "off": {"ENABLED": False}})
