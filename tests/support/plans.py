"""How the database finds rows of the mirror."""

from django.db import connection

from komfortkasse_django.models import RemovedOrder


def analyze() -> None:
    """Update the planner's statistics, on databases that usually do this."""
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            cursor.execute(f"ANALYZE TABLE {RemovedOrder._meta.db_table}")
            cursor.fetchall()
        elif connection.vendor == "postgresql":
            cursor.execute("VACUUM ANALYZE")


def index(*columns: str) -> str:
    """Return the name of the index on the columns."""
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, RemovedOrder._meta.db_table)
    return next(
        name
        for name, constraint in constraints.items()
        if constraint["index"] and constraint["columns"] == list(columns)
    )


def plan(sql: str) -> str:
    """Return a query plan; for MySQL only the indexes that are used, not all possible ones."""
    with connection.cursor() as cursor:
        cursor.execute(f"{connection.ops.explain_query_prefix()} {sql.replace('%', '%%')}")
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return "\n".join(
        " ".join(str(value) for name, value in row.items() if name != "possible_keys")
        for row in rows
    )
