"""Image registries: which digests belong to an image."""
