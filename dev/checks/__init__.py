"""Checks and chores that `make` calls."""
