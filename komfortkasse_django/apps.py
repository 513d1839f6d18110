"""Connects everything when Django starts: checks, signals and the shop's own admin."""

from django.apps import AppConfig, apps
from django.core import checks
from django.core.signals import request_finished, request_started, setting_changed
from django.db.models.signals import class_prepared
from django.utils.translation import gettext_lazy as _


class KomfortkasseConfig(AppConfig):
    name = "komfortkasse_django"
    verbose_name = _("Komfortkasse")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from komfortkasse_django import receivers
        from komfortkasse_django.checks import check_settings
        from komfortkasse_django.queue import budget

        checks.register(check_settings)
        receivers.connect()
        class_prepared.connect(receivers.connect_late)
        setting_changed.connect(receivers.reconnect)
        request_started.connect(budget.start_request)
        request_finished.connect(budget.finish_request)
        if apps.is_installed("django.contrib.admin"):
            from komfortkasse_django.admin import attach

            attach.attach()
            checks.register(attach.check_attached)
