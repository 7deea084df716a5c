"""The kubectl plug-in: `kubectl immutable`."""
