"""The store and the cache within one process: where there is no Redis, and while it cannot be reached."""
