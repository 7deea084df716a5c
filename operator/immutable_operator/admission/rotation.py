"""Decides when a certificate of the webhook is created, served and removed. Pure.

The state is in a Secret that all replicas read; the bundle of CAs that the API servers trust is in
the webhook configuration. Changes of both need time to reach all replicas and API servers, so each
step waits for the previous one to take effect (``settle``):

1. *next*: a new certificate is stored, and its CA is added to the bundle. It is not served yet.
2. *serving*: a settle time after the bundle with its CA was published, the certificate is served.
3. *old*: after another settle time no replica serves the previous one; its CA is removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import msgspec

from immutable_operator.admission.certificates import Pair, authorities, issue, read_pair

__all__ = ["Keys", "RotationTimes", "read_keys", "rotate", "write_keys"]

SETTLES = 6


@dataclass(frozen=True)
class RotationTimes:
    """How long a certificate is valid, and how long changes need to take effect everywhere.

    A new certificate is created at half of the lifetime, so that a rotation can be retried for the
    other half.
    """

    lifetime: timedelta = timedelta(days=30)
    settle: timedelta = timedelta(seconds=120)

    def __post_init__(self) -> None:
        if not timedelta(0) < self.settle * SETTLES <= self.lifetime:
            raise ValueError(
                f"certificates that are valid for {self.lifetime} cannot be rotated with a settle"
                f" time of {self.settle}; set a settle time above 0, and a validity of at least"
                f" {SETTLES} times the settle time"
            )


@dataclass(frozen=True)
class Keys:
    """The content of the Secret.

    ``published`` is the time at which the CA of ``next`` was first observed in the published
    bundle; ``replaced`` is the time at which ``serving`` was last replaced. Both are None if there
    is nothing to wait for.
    """

    serving: Pair | None = None
    next: Pair | None = None
    old: frozenset[str] = frozenset()
    published: datetime | None = None
    replaced: datetime | None = None

    @property
    def bundle(self) -> str:
        """All CAs that must be trusted now, in a stable order."""
        pairs = [pair.authority for pair in (self.serving, self.next) if pair]
        return "".join(sorted({*pairs, *self.old}))


class _Since(msgspec.Struct, omit_defaults=True):
    published: datetime | None = None
    replaced: datetime | None = None


def rotate(
    keys: Keys, published: str, now: datetime, times: RotationTimes, names: tuple[str, ...]
) -> Keys:
    """The next state; at most one step is taken.

    Parameters
    ----------
    keys
        The stored state.
    published
        The current bundle in the webhook configuration.
    now
        Current time in UTC.
    names
        DNS names and IP addresses under which the webhook is called.
    """
    trusted = authorities(published, now)
    serving, coming = _usable(keys.serving, now, names), _usable(keys.next, now, names)
    keys = replace(keys, next=coming, published=keys.published if coming else None)
    if coming and coming.authority not in trusted:
        keys = replace(keys, published=None)
    elif coming and keys.published is None:
        keys = replace(keys, published=now)
    if coming:
        settled = keys.published is not None and now - keys.published >= times.settle
        # Without a valid serving certificate, only the publication must be awaited.
        if settled or (keys.published is not None and keys.serving and not serving):
            return _promote(keys, now)
        return keys
    if serving is None:
        return _begin(keys, trusted, now, times, names)
    if keys.old and (keys.replaced is None or now - keys.replaced >= times.settle):
        return replace(keys, old=frozenset(), replaced=None)
    left = serving.expires - now
    # If the lifetime was shortened, more than a lifetime can be left.
    if not keys.old and not times.lifetime / 2 <= left <= times.lifetime:
        return replace(keys, next=issue(names, now, times.lifetime))
    return keys


def _begin(
    keys: Keys,
    trusted: frozenset[str],
    now: datetime,
    times: RotationTimes,
    names: tuple[str, ...],
) -> Keys:
    """Without a valid certificate: serve a new one at once, unless replicas still serve an old one.

    If the Secret was lost, replicas continue with the certificate in memory, which API servers
    trust.
    """
    pair = issue(names, now, times.lifetime)
    if keys.serving is None and trusted:
        return Keys(next=pair, old=trusted)
    return Keys(serving=pair, old=trusted, replaced=now if trusted else None)


def _promote(keys: Keys, now: datetime) -> Keys:
    old = keys.old | ({keys.serving.authority} if keys.serving else frozenset())
    return Keys(serving=keys.next, old=old, replaced=now)


def _usable(pair: Pair | None, now: datetime, names: tuple[str, ...]) -> Pair | None:
    return pair if pair and pair.expires > now and pair.names >= {*names} else None


def read_keys(data: Mapping[str, str]) -> Keys:
    """The state in the (decoded) data of the Secret; missing or invalid parts are left out."""
    try:
        since = msgspec.json.decode(data.get("since.json", "{}"), type=_Since)
    except (ValueError, RecursionError):
        since = _Since()
    return Keys(
        serving=_read(data, ""),
        next=_read(data, "next-"),
        old=authorities(data.get("old-ca.crt", ""), datetime.min.replace(tzinfo=UTC)),
        published=since.published,
        replaced=since.replaced,
    )


def write_keys(keys: Keys) -> dict[str, str]:
    """The data of the Secret before encoding; `read_keys` reads it."""
    data = {"since.json": msgspec.json.encode(_Since(keys.published, keys.replaced)).decode()}
    for prefix, pair in (("", keys.serving), ("next-", keys.next)):
        if pair:
            data[f"{prefix}ca.crt"] = pair.authority
            data[f"{prefix}tls.crt"] = pair.certificate
            data[f"{prefix}tls.key"] = pair.key
    if keys.old:
        data["old-ca.crt"] = "".join(sorted(keys.old))
    return data


def _read(data: Mapping[str, str], prefix: str) -> Pair | None:
    return read_pair(
        *(data.get(f"{prefix}{name}", "") for name in ("ca.crt", "tls.crt", "tls.key"))
    )
