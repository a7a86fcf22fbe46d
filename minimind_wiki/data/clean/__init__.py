"""Cleaning: steps that say what they changed or dropped and why, and that can be undone."""
