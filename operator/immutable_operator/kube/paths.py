"""URLs of resources."""

__all__ = ["NODES", "PODS", "SELF", "ApiPath"]


class ApiPath:
    """URLs of one resource: ``ApiPath("apis/immutable.dev/v1alpha1", "immutableservices")``."""

    def __init__(self, group_version: str, resource: str) -> None:
        self.group_version = group_version
        self.resource = resource

    def all(self) -> str:
        return f"/{self.group_version}/{self.resource}"

    def collection(self, namespace: str) -> str:
        """Return the URL of the objects in a namespace; "" for a kind without namespaces."""
        if not namespace:
            return self.all()
        return f"/{self.group_version}/namespaces/{namespace}/{self.resource}"

    def item(self, namespace: str, name: str, subresource: str = "") -> str:
        tail = f"/{subresource}" if subresource else ""
        return f"{self.collection(namespace)}/{name}{tail}"


PODS, NODES = ApiPath("api/v1", "pods"), ApiPath("api/v1", "nodes")
SELF = ApiPath("apis/authentication.k8s.io/v1", "selfsubjectreviews")
"""Answers as whom the API server knows the client."""
