"""How hard the property tests try: `--hypothesis-profile=thorough` for thousands of histories instead of a hundred."""

from hypothesis import HealthCheck, settings

# A loaded machine must not fail a test, so no example has a deadline.
settings.register_profile("default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("default"), max_examples=3_000, stateful_step_count=80)
settings.load_profile("default")
