"""The store and the cache, in Redis."""
