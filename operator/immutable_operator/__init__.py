"""Immutable Operator: instances are replaced, never patched.

The folders are the map: api (what users write), domain (what is decided), kube and instances
(how it is done), runtime (the process).
"""
