"""This app's page in the admin."""

import pytest
from django.urls import reverse

from tests.support.mirror_pages import LIST, text
from tests.support.staff import make_staff

pytestmark = pytest.mark.django_db

PAGE = reverse("admin:app_list", args=["komfortkasse_django"])


def test_says_how_much_there_is_to_do(staff, make):
    make(state="failed")
    assert "1 removed order to look at" in text(staff.get(PAGE))
    make(amount_paid=5)

    page = text(staff.get(PAGE))

    assert "2 removed orders to look at" in page
    assert f'<a href="{reverse(LIST)}?to_do=all">' in page


def test_says_nothing_if_there_is_nothing_to_do(staff, make):
    make()

    page = text(staff.get(PAGE))

    assert reverse(LIST) in page
    assert "to look at" not in page


def test_says_nothing_to_those_who_may_not_see_removals(make):
    make(state="failed")
    cleaner = make_staff("komfortkasse_django.delete_removedorder")

    assert "to look at" not in text(cleaner.get(PAGE))
