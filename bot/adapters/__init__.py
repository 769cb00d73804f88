"""Ports, implemented: each file translates one vendor, its errors included."""
