"""Decoding, confined: hostile files are read by a child process that can do nothing else.

`bot.adapters.decoder.confined` is the port; ``child``, ``media``, ``sandbox``, ``seccomp`` and ``report`` run in the
child. Nothing is imported here, since the child would pay for it at every start.
"""
