"""Earshot: a self-hosted Discord bot that listens."""
