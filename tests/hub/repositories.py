"""Repositories as the hub keeps them: files at one commit, named by the hashes git gives them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

BRANCH = "main"
STORED_APART = (".parquet", ".safetensors", ".pt", ".bin", ".gguf")
"""What the hub keeps in its file store (LFS), and answers with a redirection."""


@dataclass(frozen=True)
class File:
    """A file and its hashes."""

    content: bytes
    apart: bool

    @cached_property
    def oid(self) -> str:
        """Git's hash of the blob; of a file in the store, that of its pointer."""
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize "
        held = f"{pointer}{len(self.content)}\n".encode() if self.apart else self.content
        return hashlib.sha1(b"blob %d\0" % len(held) + held).hexdigest()

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def etag(self) -> str:
        return f'"{self.sha256 if self.apart else self.oid}"'


@dataclass(frozen=True)
class Repository:
    """One repository.

    Attributes:
        kind: ``models`` or ``datasets``.
        name: ``owner/name``.
        contents: The files, by path.
        readers: Tokens that may read it where it is gated; None where everybody may.
        private: Whether a gated one is not even seen by others.
    """

    kind: str
    name: str
    contents: Mapping[str, bytes]
    readers: frozenset[str] | None = None
    private: bool = False
    branches: tuple[str, ...] = field(default=(BRANCH,))

    @cached_property
    def files(self) -> dict[str, File]:
        """Files by path."""
        return {
            path: File(content, path.endswith(STORED_APART))
            for path, content in sorted(self.contents.items())
        }

    @cached_property
    def commit(self) -> str:
        """The hash of its only commit."""
        held = repr([(self.kind, self.name), *((p, f.sha256) for p, f in self.files.items())])
        return hashlib.sha1(held.encode()).hexdigest()

    def has_revision(self, revision: str) -> bool:
        """Whether a branch or a commit is of it."""
        return revision in (*self.branches, self.commit)

    def info(self) -> dict[str, Any]:
        """What the hub says of a repository."""
        return {
            "_id": self.commit[:24],
            "id": self.name,
            "author": self.name.split("/", maxsplit=1)[0],
            "sha": self.commit,
            "lastModified": "2026-01-01T00:00:00.000Z",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "private": self.private,
            "gated": "auto" if self.readers is not None else False,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": [{"rfilename": path} for path in self.files],
        }

    def entries(self, folder: str = "", *, recursive: bool) -> list[dict[str, Any]] | None:
        """The files and folders below a folder; None where there is no such folder."""
        inner = f"{folder}/" if folder else ""
        found: dict[str, dict[str, Any]] = {}
        for path in self.files:
            if not path.startswith(inner):
                continue
            parts = path.removeprefix(inner).split("/")
            for depth in range(1, len(parts) if recursive else min(2, len(parts))):
                place = inner + "/".join(parts[:depth])
                found[place] = self.entry(place)
            if recursive or len(parts) == 1:
                found[path] = self.entry(path)
        return list(found.values()) if found or not folder else None

    def entry(self, path: str) -> dict[str, Any]:
        """What the hub says of a path that is there."""
        file = self.files.get(path)
        if file is None:
            oid = hashlib.sha1(f"{self.commit} {path}".encode()).hexdigest()
            return {"type": "directory", "oid": oid, "size": 0, "path": path}
        size = len(file.content)
        apart = {"lfs": {"oid": file.sha256, "size": size, "pointerSize": 134}}
        base = {"type": "file", "oid": file.oid, "size": size, "path": path}
        return base | (apart if file.apart else {})

    def has(self, path: str) -> bool:
        """Whether a file or a folder is there."""
        return path in self.files or any(own.startswith(f"{path}/") for own in self.files)
