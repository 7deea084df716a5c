"""Drivers, which turn planned moves into objects and live objects into instances."""
