"""What ``huggingface_hub`` asks of huggingface.co to write: repositories, large files, commits.

    POST /api/repos/create                                     a repository
    POST /api/validate-yaml                                    a card's head
    POST /api/{models,datasets}/OWNER/NAME/preupload/REV       which files go to the store
    POST /[datasets/]OWNER/NAME.git/info/lfs/objects/batch     where in the store
    PUT  /store/SHA256                                         a large file, on another host
    POST /api/{models,datasets}/OWNER/NAME/commit/REV          a commit: JSON lines

A commit names large files by their hash; one that the store has not got is refused whole.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hub.repositories import STORED_APART, Repository

if TYPE_CHECKING:
    from hub.server import Hub

LARGE = 4096  # bytes of what goes to the store, whatever its name
_WRITES = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)/(preupload|commit)/([^/]+)")
_BATCH = re.compile(r"/(datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch")
_STORE = re.compile(r"/store/([0-9a-f]{64})")


@dataclass
class Commit:
    """A commit that was made."""

    name: str
    message: str
    paths: list[str]


@dataclass
class Uploads:
    """The hub's writing side.

    Attributes:
        hub: The hub.
        writers: By token: the owners in whose name it may write.
        stored: Large files that have come, by hash.
        commits: Those made, in order.
    """

    hub: Hub
    writers: dict[str, set[str]] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    commits: list[Commit] = field(default_factory=list)

    def answer(self, method: str, path: str, token: str | None, body: bytes) -> Any:
        """The answer to a request that writes; None where it is none."""
        if method == "PUT" and (found := _STORE.fullmatch(path)):
            if hashlib.sha256(body).hexdigest() != found[1]:
                raise self._refusal(400, "the file is of another hash")
            self.stored[found[1]] = body
            return {}
        if method != "POST":
            return None
        if path == "/api/validate-yaml":
            return {"errors": [], "warnings": []}
        if path == "/api/repos/create":
            return self._create(token, json.loads(body))
        if found := _BATCH.fullmatch(path):
            self._owned(token, found[2])
            return self._batch(json.loads(body))
        if found := _WRITES.fullmatch(path):
            self._owned(token, found[2])
            repository = self.hub.repository(found[1], found[2], token)
            make = self._preupload if found[3] == "preupload" else self._commit
            return make(repository, body)
        return None

    def _owned(self, token: str | None, name: str) -> None:
        if token is None:
            raise self._refusal(401, "Invalid username or password.")
        if name.partition("/")[0] not in self.writers.get(token, set()):
            raise self._refusal(403, f"You don't have the rights to write to {name}")

    def _create(self, token: str | None, asked: dict[str, Any]) -> Any:
        name = f"{asked['organization']}/{asked['name']}"
        self._owned(token, name)
        kind = f"{asked['type']}s"
        if (kind, name) in self.hub.repositories:
            raise self._refusal(409, "You already created this repo")
        private = asked.get("visibility") == "private" or asked.get("private") is True
        readers = frozenset({str(token)}) if private else None
        self.hub.add(kind, name, {}, private=private, readers=readers)
        prefix = "" if kind == "models" else f"{kind}/"
        return {"url": f"{self.hub.address}/{prefix}{name}"}

    def _preupload(self, repository: Repository, body: bytes) -> Any:
        files = []
        for asked in json.loads(body)["files"]:
            path, held = asked["path"], repository.files.get(asked["path"])
            large = path.endswith(STORED_APART) or asked["size"] > LARGE
            oid = None if held is None else held.sha256 if large else held.oid
            mode = "lfs" if large else "regular"
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return {"files": files}

    def _batch(self, asked: dict[str, Any]) -> Any:
        objects = []
        for one in asked["objects"]:
            place = {"upload": {"href": f"{self.hub.store}/{one['oid']}"}}
            actions = {} if one["oid"] in self.stored else {"actions": place}
            objects.append({"oid": one["oid"], "size": one["size"], **actions})
        return {"transfer": "basic", "objects": objects}

    def _commit(self, repository: Repository, body: bytes) -> Any:
        header, *operations = map(json.loads, body.splitlines())
        added: dict[str, bytes] = {}
        for one in operations:
            value = one["value"]
            if one["key"] == "file":
                added[value["path"]] = base64.b64decode(value["content"])
            elif value["oid"] in self.stored:
                added[value["path"]] = self.stored[value["oid"]]
            else:
                raise self._refusal(400, f"{value['path']} is not in the store")
        made = self.hub.add(
            repository.kind,
            repository.name,
            {**repository.contents, **added},
            private=repository.private,
            readers=repository.readers,
        )
        message = header["value"]["summary"]
        self.commits.append(Commit(repository.name, message, sorted(added)))
        prefix = "" if repository.kind == "models" else f"{repository.kind}/"
        address = f"{self.hub.address}/{prefix}{repository.name}/commit/{made.commit}"
        return {"commitUrl": address, "commitOid": made.commit, "success": True}

    def _refusal(self, status: int, message: str) -> Exception:
        from hub.server import Refusal

        return Refusal(status, "", message)
