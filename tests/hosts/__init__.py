"""Captured machines, one folder each, and `python -m tests.hosts` that makes containers and captures them anew."""
