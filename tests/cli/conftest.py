"""Shared fixtures of the command line's tests."""

import pytest


@pytest.fixture
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
