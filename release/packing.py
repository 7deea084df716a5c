"""Archives with the same bytes each time: sorted names, one time, no owner."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from release.tree import EPOCH, ReleaseError

__all__ = ["digest", "merge", "pack", "repack"]

# What differs from one Python to the next in the records of an installation, and is not used.
LEFT_OUT = ("RECORD", "WHEEL", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def merge(sources: Iterable[Path], target: Path) -> None:
    """Put the installations of several Pythons into one folder.

    Compiled modules have the Python in their names, everything else is the same in all. Raises
    `ReleaseError` if it is not.
    """
    for source in sources:
        for path in sorted(path for path in source.rglob("*") if path.is_file()):
            name = path.relative_to(source)
            # Of each package one description: some name the file from which it was installed.
            about = name.parts[0].endswith(".dist-info")
            if name.parts[0] == "bin" or (about and name.name in LEFT_OUT) or name.name == ".lock":
                continue
            there = target / name
            if not there.exists():
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, there)
            elif not about and there.read_bytes() != path.read_bytes():
                raise ReleaseError(
                    f"{name} differs from one Python to the next, so that one archive cannot"
                    " serve all; release/packing.py has to put it into a folder of each"
                )


def pack(folder: Path, archive: Path, programs: Iterable[str] = ()) -> None:
    """Write a folder as tar.gz; ``programs`` are the names of the executable files."""
    executable = set(programs)
    with _writing(archive) as tar:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder).as_posix()
            _add(tar, name, path.read_bytes(), executable=name in executable)


def repack(archive: Path) -> None:
    """Write a tar.gz that another program made again, in this form."""
    with tarfile.open(archive) as made:
        members = sorted((m for m in made.getmembers() if m.isfile()), key=lambda m: m.name)
        content = [(m.name, made.extractfile(m)) for m in members]
        files = [(name, file.read()) for name, file in content if file is not None]
    with _writing(archive) as tar:
        for name, data in files:
            _add(tar, name, data)


def _add(tar: tarfile.TarFile, name: str, data: bytes, *, executable: bool = False) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = len(data), EPOCH, 0o755 if executable else 0o644
    tar.addfile(entry, io.BytesIO(data))


@contextmanager
def _writing(archive: Path) -> Iterator[tarfile.TarFile]:
    """A new tar.gz whose compressed form names neither a file nor a time."""
    with (
        archive.open("wb") as file,
        gzip.GzipFile("", "wb", 6, file, mtime=EPOCH) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        yield tar
