from django.apps import apps

from komfortkasse_django import order_admin


def test_a_shop_without_the_admin_needs_none(monkeypatch):
    attached = []
    monkeypatch.setattr(order_admin, "attach", lambda: attached.append("attached"))
    config = apps.get_app_config("komfortkasse_django")

    monkeypatch.setattr(apps, "is_installed", lambda name: False)
    config.ready()
    assert attached == []

    monkeypatch.setattr(apps, "is_installed", lambda name: True)
    config.ready()
    assert attached == ["attached"]
