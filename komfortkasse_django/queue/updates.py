"""Writes claimed rows back, many in one statement.

A statement for each row would cost as much as the HTTP call. ``bulk_update`` cannot tell which rows
are still held. ``executemany`` is unknown to wrappers of cursors, such as django-pghistory's.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connections

from komfortkasse_django.models import RemovedOrder, get_field

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


class _Sql(NamedTuple):
    """An UPDATE of many rows from an array in JSON, for one kind of database.

    It finds the rows by their keys, whatever the statistics say: right after many orders were
    deleted, these know little of what is due.
    """

    statement: str
    column: str = ", json_extract(value, '$.{key}') AS {name}"
    assignment: str = "{name} = written.{name}"


_SQL = {
    # The plus has it ignore the index on what is due.
    "sqlite": _Sql(
        "UPDATE {table} SET {assignments} FROM (SELECT json_extract(value, '$.id') AS id,"
        " json_extract(value, '$.held') AS held{columns} FROM json_each(%s)) AS written"
        " WHERE {table}.id = written.id AND +{table}.next_attempt_at = written.held"
    ),
    # Without the limit it expects 100 rows. With "=" it may read all that is due.
    "postgresql": _Sql(
        "UPDATE {table} SET {assignments} FROM (SELECT * FROM json_to_recordset(%s::json)"
        " AS texts (id bigint, held timestamptz{columns}) LIMIT {count}) AS written"
        " WHERE {table}.id = written.id"
        " AND {table}.next_attempt_at IS NOT DISTINCT FROM written.held",
        column=", {name} {db_type}",
    ),
    # MariaDB and MySQL. Joined in this order and by the keys, so that no other rows are locked.
    # LONGTEXT, because a narrower column would cut what does not fit into it.
    "mysql": _Sql(
        "UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (id BIGINT PATH '$.id', held DATETIME(6)"
        " PATH '$.held'{columns})) AS written STRAIGHT_JOIN {table} FORCE INDEX (PRIMARY)"
        " ON {table}.id = written.id AND {table}.next_attempt_at = written.held"
        " SET {assignments}",
        column=", {name} LONGTEXT CHARACTER SET utf8mb4 PATH '$.{key}' ERROR ON ERROR",
        assignment="{table}.{name} = written.{name}",
    ),
}


def update(
    held: Sequence[tuple[RemovedOrder, datetime | None]], names: Sequence[str], *, using: str
) -> int:
    """Write the columns ``names`` of rows, and return how many of them were still held.

    A row is held while its ``next_attempt_at`` in the database is the one that is beside it here.
    Raises what the database raises.
    """
    connection = connections[using]

    def prepared(name: str, value: object) -> Any:  # noqa: ANN401 - as the driver takes it
        return get_field(name).get_db_prep_save(value, connection)

    rows = [
        {
            "id": row.pk,
            "held": prepared("next_attempt_at", until),
            **{name: prepared(name, getattr(row, name)) for name in names},
        }
        for row, until in held
    ]
    with connection.cursor() as cursor:
        if len(rows) == 1:
            # Without JSON, so that a value that the database cannot read from it can be stored.
            key, until, *values = rows[0].values()
            cursor.execute(_update_one(connection, names), [*values, key, until])
        else:
            # As texts, the database reads moments and amounts.
            array = json.dumps(rows, ensure_ascii=False, default=str)
            cursor.execute(_update_many(connection, names, count=len(rows)), [array])
        written: int = cursor.rowcount
    return written


def _update_one(connection: "BaseDatabaseWrapper", names: Sequence[str]) -> str:
    """Its parameters are the values, the row's key, and until when it is held."""
    quote = connection.ops.quote_name
    table = quote(RemovedOrder._meta.db_table)
    assignments = ", ".join(f"{quote(name)} = %s" for name in names)
    return f"UPDATE {table} SET {assignments} WHERE id = %s AND next_attempt_at = %s"  # noqa: S608


def _update_many(connection: "BaseDatabaseWrapper", names: Sequence[str], *, count: int) -> str:
    """Its one parameter is an array of ``count`` rows, in JSON."""
    quote = connection.ops.quote_name
    table = quote(RemovedOrder._meta.db_table)
    sql = _SQL[connection.vendor]
    columns = [
        sql.column.format(key=name, name=quote(name), db_type=get_field(name).db_type(connection))
        for name in names
    ]
    assignments = [sql.assignment.format(table=table, name=quote(name)) for name in names]
    return sql.statement.format(
        table=table, columns="".join(columns), assignments=", ".join(assignments), count=count
    )
