"""What a Python module defines, read from its source: nothing is imported or run."""

from __future__ import annotations

import ast
import functools
import importlib.util
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

_ANYTHING = {"*", "__getattr__"}  # a module with one of these may define any name
_Functions = (ast.FunctionDef, ast.AsyncFunctionDef)


def find(module: str) -> ModuleSpec | None:
    """Where a module lies; None if there is none. Its packages are not imported either."""
    loaded = getattr(sys.modules.get(module), "__spec__", None)
    if isinstance(loaded, ModuleSpec):
        return loaded
    spec, folders, parts = None, None, module.split(".")
    for depth in range(1, len(parts) + 1):
        if depth > 1 and folders is None:
            return None
        try:
            spec = _search(".".join(parts[:depth]), folders)
        except KeyError:  # a namespace inside a package: Python wants the package imported
            return importlib.util.find_spec(module)
        if spec is None:
            return None
        places = spec.submodule_search_locations
        folders = None if places is None else list(places)
    return spec


def _search(name: str, folders: list[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        spec = finder.find_spec(name, folders)
        if spec is not None:
            return spec
    return None


def source_of(spec: ModuleSpec) -> Path | None:
    """The Python file of a module; None for an extension or a namespace."""
    path = Path(spec.origin or "")
    return path if path.suffix == ".py" and path.is_file() else None


def lacks(source: Path, name: str) -> bool:
    """Whether a Python file binds no such name; a file that cannot be parsed lacks every one."""
    names = _names(source, source.stat().st_mtime_ns)
    return name not in names and not names & _ANYTHING


def members(target: str) -> set[str]:
    """Names of the methods of a class ``"module:Class"`` and of what it sets on ``self``."""
    module, _, name = target.partition(":")
    found = _class(module, name)
    nodes = ast.walk(found[1]) if found else ()
    return {
        node.name if isinstance(node, _Functions) else node.attr
        for node in nodes
        if isinstance(node, _Functions)
        or (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store))
    }


def overrides(module: str, name: str, method: str, stock: str) -> bool:
    """Whether a class defines a method below the classes of the module ``stock``.

    What cannot be told from the source counts as yes.
    """
    if module == stock:
        return False
    found = _class(module, name)
    if found is None:
        return True
    where, node = found
    if where == stock:
        return False
    if method in set(_bound_in(node.body)):
        return True
    bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
    if len(bases) < len(node.bases):
        return True
    return any(overrides(where, base, method, stock) for base in bases)


def _class(module: str, name: str) -> tuple[str, ast.ClassDef] | None:
    """A class by name, followed through ``from … import``, with its module."""
    spec = find(module)
    source = source_of(spec) if spec else None
    if spec is None or source is None:
        return None
    for node in ast.walk(_tree(source, source.stat().st_mtime_ns)):
        if isinstance(node, ast.ClassDef) and node.name == name:
            return module, node
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _class(_absolute(node, spec), alias.name)
    return None


def _absolute(node: ast.ImportFrom, spec: ModuleSpec) -> str:
    package = spec.name if spec.submodule_search_locations is not None else spec.parent
    return importlib.util.resolve_name("." * node.level + (node.module or ""), package)


@functools.lru_cache(maxsize=128)
def _tree(source: Path, changed: int) -> ast.Module:
    try:
        return ast.parse(source.read_bytes())
    except (SyntaxError, ValueError):
        return ast.Module([], [])


@functools.lru_cache(maxsize=128)
def _names(source: Path, changed: int) -> frozenset[str]:
    return frozenset(_bound_in(_tree(source, changed).body))


def _bound_in(nodes: list[ast.stmt]) -> Iterator[str]:
    for node in nodes:
        yield from _bound(node)


def _bound(node: ast.AST) -> Iterator[str]:
    """Names a statement binds in its own scope."""
    if isinstance(node, (*_Functions, ast.ClassDef)):
        yield node.name
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        for alias in node.names:
            yield alias.asname or alias.name.partition(".")[0]
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    else:
        for child in ast.iter_child_nodes(node):
            yield from _bound(child)
