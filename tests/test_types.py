"""A type checker reports the wrong calls in a user's program, and no right ones."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "typed_program.py"
PYRIGHT = shutil.which("pyright", path=Path(sys.executable).parent)


@pytest.mark.skipif(PYRIGHT is None, reason="pyright is not installed")
def test_pyright_reports_exactly_the_wrong_calls():
    command = [PYRIGHT, "--outputjson", "--pythonpath", sys.executable, str(PROGRAM)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROGRAM.parents[1])
    diagnostics = json.loads(ran.stdout)["generalDiagnostics"]
    reported = {d["range"]["start"]["line"] + 1 for d in diagnostics if d["severity"] == "error"}
    lines = PROGRAM.read_text(encoding="utf8").splitlines()
    assert reported == {i for i, line in enumerate(lines, 1) if "# wrong: " in line}, diagnostics


@pytest.mark.skipif(PYRIGHT is None, reason="pyright is not installed")
def test_nine_in_ten_public_symbols_have_complete_types(tmp_path):
    paths = os.pathsep.join([str(PROGRAM.parents[1]), sysconfig.get_path("purelib")])
    command = [PYRIGHT, "--outputjson", "--pythonpath", sys.executable, "--verifytypes", "jaxdl", "--ignoreexternal"]
    environment = os.environ | {"PYTHONPATH": paths}
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert json.loads(ran.stdout)["typeCompleteness"]["completenessScore"] >= 0.9
