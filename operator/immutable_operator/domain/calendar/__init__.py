"""Schedules, windows and ages, and whether they can be met."""
