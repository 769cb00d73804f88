"""Redis for those who run none: our own child processes, on unix sockets in the data folder.

One server for each role, as the two must not share memory. All processes that use the same folder share its servers:
each user holds a shared lock on ``users.lock`` while it runs, and whoever leaves last stops them. A server holds a lock
too, on its ``alive.lock``, by a descriptor that it inherited and never closes: so the kernel tells whether it lives,
over crashes, containers and process ids that are used again.
"""

from bot.adapters.embedded_redis.failures import EmbeddedRedisFailed, Patience
from bot.adapters.embedded_redis.shared import EmbeddedRedis, embedded_redis, find_server

__all__ = ["EmbeddedRedis", "EmbeddedRedisFailed", "Patience", "embedded_redis", "find_server"]
