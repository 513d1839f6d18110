"""How many examples Hypothesis tries in a test, and which.

They are the same in each run, so a failure can be repeated. ``EXAMPLES=20`` in the environment
tries twenty times as many, different ones in each run. A failure then prints a line that repeats
it.
"""

import os

from hypothesis import HealthCheck, Phase, settings

_TIMES = int(os.environ.get("EXAMPLES", "1"))


def examples(count: int, **options: object) -> settings:
    """Try ``count`` examples, no matter how long each takes."""
    return settings(
        max_examples=count * _TIMES,
        derandomize=_TIMES == 1,
        print_blob=True,
        deadline=None,
        # No explanations of failures: they take longer than all the rest.
        phases=set(Phase) - {Phase.explain},
        # All examples share one instance of each fixture. That is intended.
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
        **options,
    )
