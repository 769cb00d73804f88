"""Slash commands, menus and events: parse, delegate, reply."""
