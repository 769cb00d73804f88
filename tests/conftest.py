"""What all tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.simulator.fixtures", "tests.redis_fixtures"]

# A busy machine is no failure: how long an example takes says nothing of the code.
settings.register_profile("earshot", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("earshot")
