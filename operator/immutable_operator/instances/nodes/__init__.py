"""Nodes as instances."""
