"""How hypothesis runs here: a busy machine must not fail a test, and the same code must get the same examples."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "groundswell", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("groundswell")
