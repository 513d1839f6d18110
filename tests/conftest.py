from collections.abc import Callable, Iterator

import pytest
import responses
from django.test import TransactionTestCase

from tests.support.komfortkasse import Komfortkasse
from tests.support.tables import empty_tables


@pytest.fixture(scope="session", autouse=True)
def _empty_tables_after_each_test() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty_tables)
        yield


@pytest.fixture
def komfortkasse() -> Iterator[Komfortkasse]:
    """A Komfortkasse that knows every order; any other request fails the test."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield Komfortkasse(mock)


@pytest.fixture
def configure(settings) -> Callable[..., None]:
    """Change options of the default alias, or replace it by other aliases with more changes."""

    def configure(
        *, aliases: dict[str, dict[str, object]] | None = None, **options: object
    ) -> None:
        default = {**settings.KOMFORTKASSE["default"], **options}
        settings.KOMFORTKASSE = {
            alias: {**default, **more} for alias, more in (aliases or {"default": {}}).items()
        }

    return configure
