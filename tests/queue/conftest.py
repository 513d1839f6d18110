from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone


@pytest.fixture
def wait(monkeypatch) -> Callable[[float], None]:
    """Let seconds pass for everything that looks at the date."""
    now, passed = timezone.now, timedelta()
    monkeypatch.setattr(timezone, "now", lambda: now() + passed)

    def wait(seconds: float) -> None:
        nonlocal passed
        passed += timedelta(seconds=seconds)

    return wait
