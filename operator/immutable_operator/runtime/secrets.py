"""The content of pinned Secrets: polled by name, because the operator may not list or watch them.

In each namespace that is granted, the operator gets the Secrets that services there pin. Of one
that it knows it asks for the metadata only, and reads the content if that has changed; only the
digest is kept. In other namespaces it asks for nothing: Secrets are read live there. Only the
leader asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from immutable_operator.domain.config.keyed import DigestKey, key_of
from immutable_operator.domain.model import ABSENT, SECRET, ConfigKey, Pin, Revision, Source
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, Forbidden, NotFound
from immutable_operator.kube.reading import READ_ERRORS
from immutable_operator.runtime.digest_key import KeyKeeper
from immutable_operator.runtime.inquiry import Inquiry
from immutable_operator.runtime.interests import Interests, Key
from immutable_operator.runtime.secret_copies import RETRY, Doubt, SecretCopies, look_at
from immutable_operator.wire.config import SECRETS, SecretContent, decode_secret
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["PinnedSecrets", "SecretOptions", "SecretView"]

COPY_POLLS = 10


@dataclass(frozen=True)
class SecretOptions:
    """Where the operator may pin Secrets: ``namespaces``.

    ``grant`` is the name of the Role there, and of the Secret with the key of the digests in the
    operator's own namespace ``home``. ``poll`` is the number of seconds between two looks at a
    Secret; a copy is looked at every `COPY_POLLS` times that.
    """

    home: str = ""
    namespaces: frozenset[str] = frozenset()
    grant: str = "immutable-operator-pinning"
    poll: float = 30.0

    def __post_init__(self) -> None:
        if not self.poll > 0:
            raise ValueError(f"--secret-poll-seconds must be greater than 0, not {self.poll:g}")


@dataclass(frozen=True)
class SecretView:
    """What is known of the Secrets of a service, and which copies exist.

    ``withheld`` are those that it pins, and that the operator is not granted.
    """

    sources: Mapping[ConfigKey, Source] = field(default_factory=dict)
    copies: frozenset[str] = frozenset()
    withheld: frozenset[ConfigKey] = frozenset()


@dataclass(frozen=True)
class _Known:
    """A Secret as it was read: its version (0: it does not exist), digest and last writer.

    ``same`` are the digests under other keys that stand for the same content, of those that were
    ``compared``.
    """

    version: int
    digest: str
    author: str = ""
    compared: frozenset[str] = frozenset()
    same: frozenset[str] = frozenset()


_News = tuple[_Known | None, Source | None]


class PinnedSecrets:
    """Digests of Secrets; ``changed`` gets the uids of the services that wait for one."""

    def __init__(
        self, client: KubeClient, options: SecretOptions, changed: Callable[[str], None]
    ) -> None:
        self._client = client
        self._options = options
        self._changed = changed
        self._key = KeyKeeper(client, options.home, options.grant)
        self.copies = SecretCopies(client, options.poll * COPY_POLLS, changed)
        self._interests = Interests()
        self._known: dict[Key, _Known] = {}
        self._problems: dict[Key, Source] = {}
        # By Secret, the digests under other keys that are to be compared, and their copies.
        self._foreign: dict[Key, Mapping[str, str]] = {}
        self._inquiry = Inquiry("Secret cannot be read", self._ask, retry=RETRY)

    def look(self, service: OwnerRecord, revisions: Iterable[Revision]) -> SecretView:
        """Return what is known of the Secrets that a service pins or pinned.

        A Secret of an older revision is read as long as a copy is missing. Nothing is said of a
        Secret while it is open whether one of its copies exists.
        """
        space = service.namespace
        wanted = {name for kind, name in service.spec.pinned if kind == SECRET}
        pins = [(r, pin) for r in revisions for pin in r.config if _has_copy(pin)]
        if space not in self._options.namespaces:
            self.forget(service.uid)
            copies = frozenset(pin.snapshot for revision, pin in pins if _began(revision))
            return SecretView(copies=copies, withheld=frozenset((SECRET, n) for n in wanted))
        self.copies.register(service.uid, ((space, pin.snapshot) for _, pin in pins))
        there, lacking, doubtful = self._sorted(space, pins)
        names = wanted | lacking | doubtful
        for gone in self._interests.register(service.uid, frozenset((space, n) for n in names)):
            self._drop(gone)
        self._note_foreign(space, [pin for _, pin in pins if pin.snapshot in there])
        found = {name: self._source((space, name)) for name in sorted(names)}
        sources = {
            (SECRET, name): source
            for name, source in found.items()
            if source and (name not in doubtful or source.problem)
        }
        return SecretView(sources, frozenset(there))

    def forget(self, owner: str) -> None:
        """Drop a service that is gone."""
        self.copies.register(owner, ())
        for gone in self._interests.register(owner, frozenset()):
            self._drop(gone)

    def news(self, namespace: str, name: str) -> None:
        """Look at once at a Secret of which a watch says that it has changed."""
        key = namespace, name
        if key in self._interests:
            self._inquiry.renew(key)
        self.copies.news(key)

    async def run(self) -> None:
        """Look at Secrets that services pin, and at their copies, forever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._inquiry.run())
            tasks.create_task(self.copies.run())

    async def read(self, namespace: str, name: str) -> SecretContent:
        """Read a Secret. Raises `ApiError`, and whatever a decoder may raise."""
        path = SECRETS.item(namespace, name)
        return decode_secret(await self._client.get(path, resource=SECRETS.resource))

    async def key(self) -> DigestKey:
        """Return the key of the digests. Raises `KeyUnavailable`."""
        return await self._key.get()

    def _sorted(
        self, space: str, pins: Iterable[tuple[Revision, Pin]]
    ) -> tuple[set[str], set[str], set[str]]:
        """Return the copies that exist, and the Secrets of which one is missing or in doubt."""
        there, lacking, doubtful = set(), set(), set()
        for revision, pin in pins:
            found = self.copies.find((space, pin.snapshot))
            if found is Doubt.OPEN:
                doubtful.add(pin.name)
            elif found is Doubt.DENIED:
                if _began(revision):
                    there.add(pin.snapshot)
            elif found and (found.revision, found.digest) == (revision.uid, pin.digest):
                there.add(pin.snapshot)
            else:
                lacking.add(pin.name)
        return there, lacking, doubtful

    def _note_foreign(self, space: str, pins: Iterable[Pin]) -> None:
        """Note which digests were made with another key, and are to be compared by content."""
        if (key := self._key.known) is None:
            return
        foreign: dict[Key, dict[str, str]] = {}
        for pin in pins:
            where = space, pin.name
            if where in self._interests and key_of(pin.digest) != key.id:
                foreign.setdefault(where, {})[pin.digest] = pin.snapshot
        for where, digests in foreign.items():
            self._foreign[where] = {**self._foreign.get(where, {}), **digests}

    def _source(self, key: Key) -> Source | None:
        self._inquiry.want(key)
        known, problem = self._known.get(key), self._problems.get(key)
        if problem:
            return problem
        if known is None:
            return None
        if not self._foreign.get(key, {}).keys() <= known.compared:
            self._inquiry.renew(key)
            return None
        return Source(known.digest, author=known.author, same=known.same)

    def _drop(self, key: Key) -> None:
        """Drop a Secret that no service reads any more."""
        for what in (self._known, self._problems, self._foreign):
            what.pop(key, None)

    async def _ask(self, key: Key) -> float | None:
        if key not in self._interests:
            return None
        before = self._known.get(key), self._problems.get(key)
        try:
            self._note(key, (await self._read(key), None), before)
        except (ApiError, *READ_ERRORS) as error:
            known, problem = before
            # What was read once is believed until the API server says something else.
            if known is None or isinstance(error, Forbidden):
                problem = self._problem(key, error)
            self._note(key, (known, problem), before)
            raise
        return self._options.poll

    def _note(self, key: Key, now: _News, before: _News) -> None:
        if key not in self._interests:
            return
        known, problem = now
        if known:
            self._known[key] = known
        if problem:
            self._problems[key] = problem
        else:
            self._problems.pop(key, None)
        if now != before:
            for owner in self._interests.of(key):
                self._changed(owner)

    async def _read(self, key: Key) -> _Known:
        """Return what a Secret says now; its content is only transferred if it has changed."""
        digest_key = await self._key.get()
        known, foreign = self._known.get(key), dict(self._foreign.get(key, {}))
        try:
            there = known and known.version and foreign.keys() <= known.compared
            if known and there and (await look_at(self._client, key)).version == known.version:
                return known
            content = await self.read(*key)
        except NotFound:
            return _Known(0, ABSENT, compared=frozenset(foreign))
        digest = digest_key.digest(*key, content.data)
        same = [d for d, copy in foreign.items() if await self._equals(content, key[0], copy)]
        version, author = content.record.version, content.author
        return _Known(version, digest, author, frozenset(foreign), frozenset(same))

    async def _equals(self, content: SecretContent, space: str, copy: str) -> bool:
        """Return whether a copy has this content."""
        try:
            return (await self.read(space, copy)).data == content.data
        except NotFound:
            return False

    def _problem(self, key: Key, error: Exception) -> Source:
        """Return what keeps a Secret from being read, and what to do."""
        if not isinstance(error, Forbidden):
            return Source(None, error.message if isinstance(error, ApiError) else str(error))
        text = (
            f"{error.message}; the Role {self._options.grant} in the namespace {key[0]} grants it;"
            " run helm upgrade to install it, or remove the namespace from"
            " pinning.secrets.namespaces"
        )
        return Source(None, text, denied=True)


def _has_copy(pin: Pin) -> bool:
    return pin.kind == SECRET and pin.digest != ABSENT


def _began(revision: Revision) -> bool:
    """Return whether its rollout began, before which its copies were created."""
    return revision.verdict.started is not None
