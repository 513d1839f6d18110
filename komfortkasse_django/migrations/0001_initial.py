import django.utils.timezone
from django.db import migrations, models

import komfortkasse_django.models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="ShopState",
            fields=[
                (
                    "shop",
                    models.CharField(
                        max_length=255, primary_key=True, serialize=False, verbose_name="shop"
                    ),
                ),
                (
                    "paused_until",
                    models.DateTimeField(blank=True, null=True, verbose_name="paused until"),
                ),
                (
                    "failures",
                    models.PositiveIntegerField(default=0, verbose_name="failures in a row"),
                ),
                (
                    "failing_since",
                    models.DateTimeField(blank=True, null=True, verbose_name="failing since"),
                ),
                (
                    "error_code",
                    models.CharField(
                        blank=True, default="", max_length=64, verbose_name="error code"
                    ),
                ),
                ("last_error", models.TextField(blank=True, default="", verbose_name="last error")),
            ],
            options={
                "verbose_name": "state of a shop",
                "verbose_name_plural": "states of shops",
            },
        ),
        migrations.CreateModel(
            name="RemovedOrder",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "shop",
                    models.CharField(
                        help_text="Alias in the setting KOMFORTKASSE.",
                        max_length=255,
                        verbose_name="shop",
                    ),
                ),
                ("order_number", models.CharField(max_length=255, verbose_name="order number")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("removed", "removed"),
                            ("unknown", "unknown to Komfortkasse"),
                            ("superseded", "superseded"),
                            ("failed", "failed"),
                        ],
                        db_default="pending",
                        default="pending",
                        max_length=32,
                        verbose_name="state",
                    ),
                ),
                (
                    "requested_via",
                    models.CharField(
                        choices=[
                            ("delete", "deletion of the order"),
                            ("code", "the shop's code"),
                            ("admin", "admin"),
                            ("command", "command line"),
                            ("gone", "end of the order"),
                            ("reconcile", "reconciliation"),
                        ],
                        max_length=32,
                        verbose_name="requested via",
                    ),
                ),
                (
                    "payment_status",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        max_length=64,
                        verbose_name="payment status",
                    ),
                ),
                (
                    "reference_number",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        max_length=255,
                        verbose_name="reference number",
                    ),
                ),
                (
                    "amount",
                    models.DecimalField(
                        blank=True,
                        decimal_places=2,
                        max_digits=15,
                        null=True,
                        verbose_name="amount",
                    ),
                ),
                (
                    "amount_paid",
                    models.DecimalField(
                        blank=True,
                        decimal_places=2,
                        max_digits=15,
                        null=True,
                        verbose_name="amount paid",
                    ),
                ),
                (
                    "currency",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        max_length=16,
                        verbose_name="currency",
                    ),
                ),
                (
                    "collection_partner",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        max_length=255,
                        verbose_name="collection agency",
                    ),
                ),
                (
                    "collection_file",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        max_length=255,
                        verbose_name="file number at the agency",
                    ),
                ),
                (
                    "collection_status",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        max_length=255,
                        verbose_name="status at the agency",
                    ),
                ),
                (
                    "dunning_level",
                    models.PositiveIntegerField(
                        blank=True, null=True, verbose_name="reminders sent"
                    ),
                ),
                (
                    "attempts",
                    models.PositiveIntegerField(db_default=0, default=0, verbose_name="attempts"),
                ),
                (
                    "error_code",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        max_length=64,
                        verbose_name="error code",
                    ),
                ),
                (
                    "last_error",
                    models.TextField(
                        blank=True, db_default="", default="", verbose_name="last error"
                    ),
                ),
                (
                    "next_attempt_at",
                    models.DateTimeField(
                        blank=True,
                        default=django.utils.timezone.now,
                        help_text="When to act next; empty when nothing is left to do.",
                        null=True,
                        verbose_name="next attempt at",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now, verbose_name="requested at"
                    ),
                ),
                (
                    "finished_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="finished at"),
                ),
                (
                    "alive_again_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="Since when the shop is known to have a living order with this number.",
                        null=True,
                        verbose_name="alive again at",
                    ),
                ),
                (
                    "settled_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When a person ticked off what was left to do.",
                        null=True,
                        verbose_name="settled at",
                    ),
                ),
                (
                    "is_unsettled",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Case(
                            models.When(
                                models.Q(
                                    models.Q(
                                        ("settled_at", None),
                                        models.Q(
                                            models.Q(
                                                ("amount_paid__gt", 0),
                                                models.Q(
                                                    ("payment_status", "REFUNDED"), _negated=True
                                                ),
                                            ),
                                            ("payment_status", "COLLECTION"),
                                            ("collection_partner__gt", ""),
                                            ("collection_file__gt", ""),
                                            ("collection_status__gt", ""),
                                            _connector="OR",
                                        ),
                                    ),
                                    models.Q(
                                        ("alive_again_at__isnull", False),
                                        models.Q(
                                            ("settled_at", None),
                                            ("settled_at__lt", models.F("alive_again_at")),
                                            _connector="OR",
                                        ),
                                    ),
                                    _connector="OR",
                                ),
                                then=True,
                            ),
                            models.When(settled_at__isnull=False, then=False),
                            default=None,
                        ),
                        output_field=models.BooleanField(null=True),
                        verbose_name="to be settled",
                    ),
                ),
            ],
            options={
                "verbose_name": "removed order",
                "verbose_name_plural": "removed orders",
                "permissions": (("remove_order", "Can remove orders from Komfortkasse"),),
                "indexes": [
                    models.Index(fields=["order_number"], name="komfortkass_order_n_bc6a21_idx"),
                    komfortkasse_django.models.SparseIndex(
                        fields=["next_attempt_at"], name="komfortkass_next_at_837b02_idx"
                    ),
                    komfortkasse_django.models.SparseIndex(
                        fields=["is_unsettled"], name="komfortkass_is_unse_ab2e18_idx"
                    ),
                    models.Index(
                        fields=["state", "shop", "finished_at"], name="komfortkass_state_e86c35_idx"
                    ),
                ],
            },
        ),
    ]
