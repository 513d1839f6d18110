"""What a command reports while it runs for a long time."""

import logging
import re

import pytest

from komfortkasse_django.management.watching import News, timed


class TestNews:
    def test_is_new_once(self):
        news = News()

        assert news.is_new("a", "down")
        assert not news.is_new("a", "down")
        assert news.is_new("a", "slow")
        assert news.is_new("b", "down")

    def test_is_new_again_after_it_was_over(self):
        news = News()
        for shop in "ab":
            news.is_new(shop, "down")

        news.forget_all_but({"b"})

        assert news.is_new("a", "down")
        assert not news.is_new("b", "down")


class TestTimed:
    @pytest.fixture
    def logger(self):
        """Nobody has said how to write it."""
        logger = logging.Logger("unconfigured")  # noqa: LOG001 - without those above it
        assert not logger.hasHandlers()
        return logger

    def test_writes_the_time_of_what_went_wrong(self, logger, capsys):
        with timed(logger):
            logger.info("unimportant")
            logger.warning("wrong")

        told = capsys.readouterr().err
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d WARNING wrong\n", told)
        assert not logger.handlers

    def test_leaves_alone_what_is_configured(self, logger, capsys):
        logger.addHandler(logging.NullHandler())

        with timed(logger):
            logger.warning("wrong")

        assert capsys.readouterr().err == ""
