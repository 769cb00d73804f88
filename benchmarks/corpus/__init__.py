"""Recordings with reference texts, and the script that made the synthetic ones."""
