"""Runs scripts of Argo CD as Argo CD does: Lua 5.1, with the few libraries that it opens.

A port of what matters of util/lua/lua.go: scripts from argocd-cm have the libraries base and table,
no more. A script reads the global ``obj`` and returns a table.
"""

from __future__ import annotations

from typing import Any

from lupa import lua51

__all__ = ["discover", "execute", "health"]

Json = dict[str, Any]

_CLOSED = ("string", "math", "io", "os", "debug", "coroutine", "python", "dofile", "loadfile")
_STATES = ("Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown")


def health(script: str, obj: Json) -> Json:
    """Status and message that a health script gives."""
    found: Json = _run(script, obj)
    assert found["status"] in _STATES, f"Argo CD knows no status {found['status']}"
    return found


def discover(script: str, obj: Json) -> list[Json]:
    """The actions that a discovery script offers, by name, as action_test.yaml has them."""
    found: dict[str, Any] = _run(script, obj) or {}
    return [{"name": name, "disabled": False, **(found[name] or {})} for name in sorted(found)]


def execute(script: str, obj: Json) -> list[Json]:
    """What an action writes: ``operation`` (create or patch) and ``resource``."""
    result = _run(script, obj)
    changes: list[Json] = (
        result if isinstance(result, list) else [{"operation": "patch", "resource": result}]
    )
    for change in changes:
        assert change["operation"] in ("create", "patch")
    return changes


def _run(script: str, obj: Json) -> Any:
    runtime = lua51.LuaRuntime(unpack_returned_tuples=True, register_eval=False)
    # The metatable of texts would be a way around: ("a"):upper().
    runtime.execute("getmetatable('').__index = nil")
    names = runtime.globals()
    for name in _CLOSED:
        names[name] = None
    names["obj"] = runtime.table_from(obj, recursive=True)
    return _plain(runtime.execute(script))


def _plain(value: Any) -> Any:
    """A Lua table as Argo CD encodes it; an empty one is a list there, too."""
    if lua51.lua_type(value) != "table":
        return int(value) if isinstance(value, float) and value.is_integer() else value
    keys = list(value.keys())
    if keys == list(range(1, len(keys) + 1)):
        return [_plain(value[key]) for key in keys]
    return {key: _plain(value[key]) for key in keys}
