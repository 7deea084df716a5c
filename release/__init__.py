"""Builds and publishes a release: `make image`, `make release` and the release workflow run it.

Steps that need no network of their own are functions of the work tree: the same tree makes the
same bytes (``compare``). See docs/release.md.
"""
