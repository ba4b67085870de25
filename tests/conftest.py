"""How hard the property tests try, and whether each run tries the same.

By default every run has the same examples, so that a failure is the change's and not the day's.
`--hypothesis-profile=thorough` tries others each time, and many more: for a night, or after a change of the core.
"""

from hypothesis import HealthCheck, settings

# A loaded machine must not fail a test, so no example has a deadline.
settings.register_profile(
    "default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.register_profile(
    "thorough",
    settings.get_profile("default"),
    max_examples=10_000,
    stateful_step_count=80,
    derandomize=False,
)
settings.load_profile("default")
