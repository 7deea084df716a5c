"""Pods as instances."""
