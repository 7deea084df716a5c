"""Hooks of MkDocs: links from docs/ to other files of the repository.

GitHub shows such links as they are; the site has no such pages. They lead to the repository if
``repo_url`` is set in mkdocs.yml, and are shown as the path of the file otherwise.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any, Final

__all__ = ["on_page_markdown", "outward_links"]

_LINK: Final = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>\.\./[^)\s#]*)(?P<anchor>#[^)\s]*)?\)")


def outward_links(markdown: str, page: str, repository: str = "") -> str:
    """Replace the links of a page that leave docs/; ``page`` is its path below docs/."""
    folder = posixpath.dirname(f"docs/{page}")

    def replaced(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, link["target"]))
        if path == "docs" or path.startswith("docs/"):
            return link[0]
        if repository:
            return f"[{link['text']}]({repository.rstrip('/')}/blob/main/{path})"
        same = link["text"].strip("`").rstrip("/") in (path, posixpath.basename(path))
        return f"`{path}`" if same else f"{link['text']} (`{path}`)"

    return _LINK.sub(replaced, markdown)


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """MkDocs calls this with the text of each page before it is rendered."""
    return outward_links(markdown, page.file.src_uri, config.repo_url or "")
