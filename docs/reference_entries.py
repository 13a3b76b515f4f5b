"""Called by mkdocstrings, which reads the source: completes docstrings that are made when the code runs."""

import importlib
import inspect
import re

import griffe

DECORATORS = {"elementwise_op", "binary_op"}
LAYER = re.compile(r"function\(ops\.(\w+)\)")


class ReferenceEntries(griffe.Extension):
    """Documents elementwise operations and the layers made of operations."""

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
