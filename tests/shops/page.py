"""The pages of a shop as a person sees them: by the words on links, buttons and choices."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, Self
from urllib.parse import urljoin

Attributes = dict[str, str]


@dataclass
class Form:
    action: str
    method: str
    fields: dict[str, list[str]] = field(default_factory=dict)
    """What is filled in."""
    buttons: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Names and values by words."""
    choices: dict[str, str] = field(default_factory=dict)
    """Values of all selects by words."""

    def fill_in(self, name: str, value: str) -> None:
        if name:
            self.fields.setdefault(name, []).append(value)


class Page:
    """An answer with status 200. ``client`` is the test client that got it."""

    def __init__(self, client: Any, response: Any) -> None:
        assert response.status_code == 200, (response.status_code, response.headers)
        self.client = client
        self.url = response.request["PATH_INFO"]
        self.text = response.content.decode()
        parser = _Parser()
        parser.feed(self.text)
        self.links = parser.links
        self.forms = parser.forms

    @classmethod
    def open(cls, client: Any, url: str) -> Self:
        return cls(client, client.get(url, follow=True))

    def follow(self, words: str) -> Self:
        return self.open(self.client, urljoin(self.url, self.links[words]))

    def press(self, words: str, **changes: object) -> Self:
        """Submit the form that has this button, with what is filled in and these changes."""
        form = next(form for form in self.forms if words in form.buttons)
        name, value = form.buttons[words]
        data = {**form.fields, **changes, **({name: value} if name else {})}
        send = getattr(self.client, form.method)
        return type(self)(self.client, send(urljoin(self.url, form.action), data, follow=True))

    def act(self, words: str, objects: Iterable[Any]) -> Self:
        """Choose objects in a list of the admin, and one of its actions."""
        form = next(form for form in self.forms if words in form.choices)
        button = next(each for each in ("Go", "Run") if each in form.buttons)
        selected = [each.pk for each in objects]
        return self.press(button, action=form.choices[words], _selected_action=selected)


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: dict[str, str] = {}
        self.forms: list[Form] = []
        self.form = Form("", "get")  # for fields outside of any
        self.select = ""
        self.opened: Attributes = {}
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened, self.words = {name: value or "" for name, value in attrs}, ""
        name, value = self.opened.get("name", ""), self.opened.get("value", "")
        if tag == "form":
            self.form = Form(
                self.opened.get("action", ""), self.opened.get("method", "get").lower()
            )
            self.forms.append(self.form)
        elif tag == "input":
            self._read_input(name, value)
        elif tag == "select":
            self.select = name
        elif tag == "option" and "selected" in self.opened:
            self.form.fill_in(self.select, value)

    def _read_input(self, name: str, value: str) -> None:
        kind = self.opened.get("type", "text")
        if kind == "submit":
            self.form.buttons[value] = name, value
        elif kind not in ("checkbox", "radio") or "checked" in self.opened:
            self.form.fill_in(name, value)

    def handle_data(self, data: str) -> None:
        self.words += data

    def handle_endtag(self, tag: str) -> None:
        words = " ".join(self.words.split())
        if tag == "a":
            self.links[words] = self.opened.get("href", "")
        elif tag == "option":
            self.form.choices[words] = self.opened.get("value", "")
        elif tag == "button":
            self.form.buttons[words] = self.opened.get("name", ""), self.opened.get("value", "")
