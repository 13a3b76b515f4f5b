"""Called by mkdocstrings, which reads the source: completes docstrings that are made when the code runs, adds links."""

import importlib
import inspect
import re

import griffe

DECORATORS = {"elementwise_op", "binary_op"}
LAYER = re.compile(r"function\(ops\.(\w+)\)")
NAME = re.compile(r"(?<![\[`])`([\w.]+)`(?![\]`])")


class ReferenceEntries(griffe.Extension):
    """Documents elementwise operations and layers made of them; links public names in docstrings; no private bases."""

    def on_function(self, *, func, **others):
        """The decorator of an operation adds arguments, result and errors to its docstring."""
        decorators = {str(decorator.value).split("(")[0] for decorator in func.decorators}
        if decorators & DECORATORS and func.docstring:
            operation = getattr(importlib.import_module(func.module.path), func.name)
            func.docstring.value = inspect.getdoc(operation)

    def on_attribute(self, *, attr, **others):
        """`relu = function(ops.relu)` is the operation as a layer."""
        if operation := LAYER.fullmatch(str(attr.value)):
            text = f"[`jaxdl.ops.{operation[1]}`][] as a layer without parameters."
            attr.docstring = griffe.Docstring(text, parent=attr)

    def on_package(self, *, pkg, **others):
        """Links `jaxdl.nn.conv`, and in the docstrings of jaxdl.nn `conv`, but not the name of an entry in itself.

        Bases that are not public are replaced by their own.
        """
        names = {name for module in (pkg, *pkg.modules.values()) for name in module.exports or ()}
        for entry in entries(pkg):
            if entry.is_class:
                entry.bases = [*public_bases(entry, pkg, names)]
        rooms = [room for room in (pkg, *pkg.modules.values()) if room.name != "report"]
        public = {f"{room.path}.{name}" for room in rooms for name in room.exports or ()}
        for entry in entries(pkg):
            room = ".".join(entry.path.split(".")[:2])

            def linked(name, room=room, own=entry.name):
                full = name[1] if name[1].startswith("jaxdl.") else f"{room}.{name[1]}"
                return f"[{name[0]}][{full}]" if full in public and name[1] != own else name[0]

            lines = entry.docstring.value.split("\n")
            lines = [line if line.lstrip().startswith((">>>", "...")) else NAME.sub(linked, line) for line in lines]
            entry.docstring.value = "\n".join(lines)


def public_bases(of, pkg, names):
    """The bases of a class, with those of a base of this package in its place where it is not public."""
    for base in of.bases:
        path = getattr(base, "canonical_path", base)
        if path.startswith(f"{pkg.name}.") and path.rpartition(".")[2] not in names:
            yield from public_bases(pkg[path.partition(".")[2]], pkg, names)
        else:
            yield base


def entries(within):
    """All objects with a docstring, imported ones left out."""
    for member in within.members.values():
        if not member.is_alias:
            if member.docstring:
                yield member
            yield from entries(member)
