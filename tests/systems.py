"""Marks of tests that need what not every operating system has."""

import os
import sys

import pytest

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux: /proc, parent-death signals")
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX: signals, fork, limits of files")
