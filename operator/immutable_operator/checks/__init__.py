"""Measurements of checks: what the operator asks of the servers that users name."""
