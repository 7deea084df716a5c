"""This product's objects on the wire: bytes to what the domain knows, and back."""
