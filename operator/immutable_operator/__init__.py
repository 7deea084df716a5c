"""Immutable Operator: instances are replaced, never patched.

Packages: api (the custom resources), domain (the decisions), instances, kube, wire and registry
(access to pods, to the API server and to image registries), admission (policies and webhook),
runtime
(the process), cli (the kubectl plug-in).
"""
