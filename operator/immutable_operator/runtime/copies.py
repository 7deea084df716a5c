"""Writes the copies of ConfigMaps and Secrets that revisions own."""

from __future__ import annotations

from typing import Any

from immutable_operator.domain.model import SECRET, Cause, CreateSnapshot, Move, Pin
from immutable_operator.instances.driver import Refused, Seen, Unknown, outcome_of
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, Conflict, NotFound
from immutable_operator.kube.reading import READ_ERRORS, written_version
from immutable_operator.runtime.contents import read_content
from immutable_operator.runtime.secrets import PinnedSecrets
from immutable_operator.wire.config import (
    CONFIG_PATHS,
    Configs,
    Content,
    SecretContent,
    decode_config,
    decode_content,
    decode_secret,
    secret_copy_body,
    snapshot_body,
)
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["CopyWriter"]


class CopyWriter:
    """Makes copies; each write returns a check for its result."""

    def __init__(self, client: KubeClient, configs: Configs, secrets: PinnedSecrets) -> None:
        """``configs`` are the ConfigMaps of the cluster, as they are watched."""
        self._client = client
        self._configs = configs
        self._secrets = secrets

    def exists(self, namespace: str, pin: Pin) -> bool:
        """Return whether a copy is known to exist."""
        known = self._secrets.copies if pin.kind == SECRET else self._configs
        return known.get(namespace, pin.snapshot) is not None

    async def make(self, owner: OwnerRecord, move: CreateSnapshot) -> Seen:
        """Copy the present content of an object, if that is the recorded content.

        Raises `Refused` or `Unknown`.
        """
        path = CONFIG_PATHS[move.pin.kind]
        content = await self._source(owner.namespace, move)
        try:
            body = _body(owner, move, content)
            answer = await self._client.create(
                path.collection(owner.namespace), body, resource=path.resource
            )
        except Conflict as error:
            answer = await self._own(owner, move, error)
        except ApiError as error:
            raise _outcome(error, content) from None
        if move.pin.kind == SECRET:
            # Nothing watches Secrets: the response is all that will be seen.
            self._secrets.copies.made(decode_config(answer))
            return lambda: True
        version = written_version(answer)
        return lambda: self._configs.version >= version or self.exists(owner.namespace, move.pin)

    async def _source(self, namespace: str, move: CreateSnapshot) -> Content | SecretContent:
        pin, problem = move.pin, "was changed before it could be copied"
        try:
            content: Content | SecretContent
            if pin.kind == SECRET:
                content = await self._secrets.read(namespace, pin.name)
            else:
                content = await read_content(self._client, namespace, pin.name)
            if await self._digest(content, pin) == pin.digest:
                return content
        except NotFound:
            problem = "was deleted before it could be copied"
        except READ_ERRORS as error:
            problem = f"cannot be read to copy it: {error}"
        except ApiError as error:
            raise outcome_of(Move.SNAPSHOT, error) from error
        raise Refused(Cause.API_SERVER, f"{pin.kind} {pin.name} {problem}")

    async def _digest(self, content: Content | SecretContent, pin: Pin) -> str:
        """Return the digest of a content as that of what ``pin`` names."""
        if isinstance(content, Content):
            return content.digest
        key = await self._secrets.key()
        return key.digest(content.record.namespace, pin.name, content.data)

    async def _own(self, owner: OwnerRecord, move: CreateSnapshot, error: Conflict) -> bytes:
        """Return the object that has the copy's name already, if it is that copy."""
        pin, path = move.pin, CONFIG_PATHS[move.pin.kind]
        try:
            answer = await self._client.get(
                path.item(owner.namespace, pin.snapshot), resource=path.resource
            )
        except ApiError as other:
            raise outcome_of(Move.SNAPSHOT, other) from other
        if not await self._is_copied(answer, move):
            text = (
                f"{pin.kind} {pin.snapshot} exists but is not this revision's copy of"
                f" {pin.name}; the operator waits until it is gone; delete it if it is not in use"
            )
            raise Refused(Cause.API_SERVER, text) from error
        return answer

    async def _is_copied(self, answer: bytes, move: CreateSnapshot) -> bool:
        """Return whether this is the copy that was to be made; False if it cannot be read."""
        pin = move.pin
        try:
            found = decode_secret(answer) if pin.kind == SECRET else decode_content(answer)
            digest = await self._digest(found, pin)
        except READ_ERRORS:
            return False
        wanted = (move.revision.uid, pin.digest, pin.digest)
        return (found.record.revision, found.record.digest, digest) == wanted


def _body(
    owner: OwnerRecord, move: CreateSnapshot, content: Content | SecretContent
) -> dict[str, Any]:
    if isinstance(content, SecretContent):
        return secret_copy_body(owner, move, content)
    return snapshot_body(owner, move, content)


def _outcome(error: ApiError, content: Content | SecretContent) -> Refused | Unknown:
    """Return what an error means; what a webhook quotes of a Secret is left out of its message."""
    if isinstance(content, SecretContent) and (said := content.hidden(error.message)):
        error.message = said
        error.args = (said,)
    return outcome_of(Move.SNAPSHOT, error)
