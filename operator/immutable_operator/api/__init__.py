"""Pydantic models of the custom resources, one file for each kind, and their CRDs.

The operator reads each spec with `service.validate_service` or `nodepool.validate_pool`.
`python -m immutable_operator.api.crd` generates crds/ from the same models. Nothing is imported
here: most commands of the plug-in need `names` only, and no models.
"""
