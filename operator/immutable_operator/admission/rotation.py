"""When a certificate of the webhook is made, served and forgotten. Pure: state and time in and out.

The state is in a Secret that all replicas read; the bundle of CAs that the API servers trust is
in the webhook configuration. Neither is seen everywhere at once, so every step waits until the
step before must have been seen (``settle``):

1. *next*: a new certificate is stored, and its CA is added to the bundle. It is not served.
2. *serving*: a settle time after the bundle with its CA was seen published, it is served.
3. *old*: a settle time later nobody serves the one before any more; its CA leaves the bundle.
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
    """How long a certificate is valid, and how long until everybody has seen a change.

    A new one is made at half of its lifetime, so a rotation may fail for the other half.
    """

    lifetime: timedelta = timedelta(days=30)
    settle: timedelta = timedelta(seconds=120)

    def __post_init__(self) -> None:
        if not timedelta(0) < self.settle * SETTLES <= self.lifetime:
            raise ValueError(
                f"certificates of {self.lifetime} cannot rotate with {self.settle} to settle:"
                f" the lifetime must be at least {SETTLES} times that"
            )


@dataclass(frozen=True)
class Keys:
    """What the Secret holds.

    ``published`` is when the CA of ``next`` was first seen in the published bundle, ``replaced``
    when ``serving`` became what it is; both None where there is nothing to wait for.
    """

    serving: Pair | None = None
    next: Pair | None = None
    old: frozenset[str] = frozenset()
    published: datetime | None = None
    replaced: datetime | None = None

    @property
    def bundle(self) -> str:
        """All CAs that must be trusted now, in an order that does not change by itself."""
        pairs = [pair.authority for pair in (self.serving, self.next) if pair]
        return "".join(sorted({*pairs, *self.old}))


class _Since(msgspec.Struct, omit_defaults=True):
    published: datetime | None = None
    replaced: datetime | None = None


def rotate(
    keys: Keys, published: str, now: datetime, times: RotationTimes, names: tuple[str, ...]
) -> Keys:
    """The state after this one: one step at most.

    Parameters
    ----------
    keys
        As stored.
    published
        The bundle in the webhook configuration, as just read.
    now
        Time in UTC, taken before ``published`` was read or later.
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
        # Without one that works there is nothing to be careful for but replicas that remember.
        if settled or (keys.published is not None and keys.serving and not serving):
            return _promote(keys, now)
        return keys
    if serving is None:
        return _begin(keys, trusted, now, times, names)
    if keys.old and (keys.replaced is None or now - keys.replaced >= times.settle):
        return replace(keys, old=frozenset(), replaced=None)
    left = serving.expires - now
    # More than a lifetime is left where the lifetime was shortened.
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
    """Without a certificate that works: serve a new one at once, unless an older may be served.

    When the Secret was lost, replicas go on with what they remember, and API servers trust it.
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
    """The state in the (decoded) data of the Secret; what is missing or broken is not there."""
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
    """The data of the Secret, not yet encoded; `read_keys` reads it back."""
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
