"""People who work in the admin, and the messages that they see."""

from html import unescape

from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.test import Client


def make_staff(*permissions: str) -> Client:
    """Return a client that is logged in as a user with these permissions."""
    user = User.objects.create_user("staff", is_staff=True)
    grant(user, *permissions)
    client = Client()
    client.force_login(user)
    return client


def grant(user: User, *permissions: str) -> None:
    """Give the user permissions, written as for ``has_perm()``."""
    for permission in permissions:
        app, codename = permission.split(".")
        user.user_permissions.add(
            Permission.objects.get(content_type__app_label=app, codename=codename)
        )


def message(response) -> tuple[str, str]:
    """Return the level and the text of the only message of an answer, without its isolation."""
    [found] = get_messages(response.wsgi_request)
    return found.level_tag, unescape(str(found).removeprefix("<bdi>").removesuffix("</bdi>"))
