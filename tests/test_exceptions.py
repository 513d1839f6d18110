import builtins
import copy
import inspect
import pickle

import pytest

from komfortkasse_django import exceptions
from komfortkasse_django.exceptions import (
    AuthenticationFailed,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidRequest,
    KomfortkasseError,
    OrderNotFound,
    ServiceUnavailable,
    UnexpectedAnswer,
)

ALL = [
    value
    for _, value in inspect.getmembers(exceptions, inspect.isclass)
    if issubclass(value, Exception)
]


@pytest.mark.parametrize("error_class", ALL)
def test_every_error_is_a_komfortkasse_error_and_shadows_no_builtin(error_class):
    assert issubclass(error_class, KomfortkasseError)
    assert not hasattr(builtins, error_class.__name__)


@pytest.mark.parametrize(
    ("error_class", "can_retry"),
    [
        (KomfortkasseError, False),
        (InvalidRequest, False),
        (AuthenticationFailed, False),
        (OrderNotFound, False),
        (ServiceUnavailable, True),
        (ConnectionFailed, True),
        (DeadlineExceeded, True),
        (UnexpectedAnswer, True),
    ],
)
def test_knows_whether_trying_again_can_help(error_class, can_retry):
    assert error_class.can_retry is can_retry


@pytest.mark.parametrize(
    ("error_class", "code"),
    [
        (KomfortkasseError, "komfortkasse_error"),
        (InvalidRequest, "invalid_request"),
        (AuthenticationFailed, "authentication_failed"),
        (OrderNotFound, "order_not_found"),
        (ServiceUnavailable, "service_unavailable"),
        (ConnectionFailed, "connection_failed"),
        (DeadlineExceeded, "deadline_exceeded"),
        (UnexpectedAnswer, "unexpected_answer"),
    ],
)
def test_a_code_never_changes(error_class, code):
    assert error_class.code == code


def test_each_class_has_a_code_of_its_own():
    codes = {error_class.code for error_class in ALL}

    assert len(codes | {exceptions.SHOP_CODE, exceptions.UNFORESEEN}) == len(ALL) + 2


def test_what_passes_by_itself_is_one_family():
    assert issubclass(ConnectionFailed, ServiceUnavailable)
    assert issubclass(DeadlineExceeded, ServiceUnavailable)
    assert not issubclass(UnexpectedAnswer, ServiceUnavailable)


@pytest.mark.parametrize("error_class", ALL)
def test_message_and_status(error_class):
    error = error_class("It went wrong.", status=418)
    assert str(error) == "It went wrong."
    assert error.status == 418
    assert error_class("It went wrong.").status is None


def test_retry_after():
    assert ServiceUnavailable("Later.", retry_after=1.5).retry_after == 1.5
    assert ServiceUnavailable("Later.").retry_after is None


@pytest.mark.parametrize("error_class", ALL)
@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))]
)
def test_survives_copying_and_pickling(error_class, duplicate):
    error = error_class("It went wrong.", status=418)
    if isinstance(error, ServiceUnavailable):
        error.retry_after = 7.0
    other = duplicate(error)
    assert type(other) is error_class
    assert other.args == error.args
    assert vars(other) == vars(error)
