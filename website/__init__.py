"""The documentation site: the generator of the API reference and the hooks of MkDocs."""
