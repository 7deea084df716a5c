"""Image registries: what an image is made of."""
