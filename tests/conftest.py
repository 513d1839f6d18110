from collections.abc import Callable, Iterator

import pytest
import responses

from tests.komfortkasse import Komfortkasse


@pytest.fixture
def komfortkasse() -> Iterator[Komfortkasse]:
    """A Komfortkasse that knows every order; any other request fails the test."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield Komfortkasse(mock)


@pytest.fixture
def configure(settings) -> Callable[..., None]:
    """Change options of the setting's default alias, or replace whole aliases."""

    def configure(*, aliases: dict[str, object] | None = None, **options: object) -> None:
        default = {**settings.KOMFORTKASSE["default"], **options}
        settings.KOMFORTKASSE = aliases or {"default": default}

    return configure
