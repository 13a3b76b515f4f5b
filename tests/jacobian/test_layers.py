"""Imports inside the room go one way: the plan, then methods, operators and analysis."""

from pathlib import Path

import jaxdl.jacobian
from tests.test_rooms import imports

ROOT = Path(jaxdl.jacobian.__file__).parent
FORBIDDEN = {
    "analysis": ("jaxdl.jacobian.operators", "jaxdl.jacobian.methods", "jaxdl.jacobian.planning"),
    "operators": ("jaxdl.jacobian.methods", "jaxdl.jacobian.planning"),
    "methods": ("jaxdl.jacobian.planning", "jaxdl.jacobian.verification"),
}


def test_imports_go_one_way():
    for folder, forbidden in FORBIDDEN.items():
        for path in (ROOT / folder).rglob("*.py"):
            assert not [name for name in imports(path) if name.startswith(forbidden)], path
