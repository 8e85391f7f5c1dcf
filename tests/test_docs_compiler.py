"""The stages that docs/compiler.md shows are those of the program that stands there.

`--update-golden` writes them anew.
"""

import re
from pathlib import Path

import pytest

from fstensor.compiler import pipeline
from fstensor.compiler.llvm.target import TARGETS
from fstensor.transforms.programs import simplified

PATH = Path(__file__).parent.parent / "docs" / "compiler.md"
STAGES = ("jaxpr", "optimized", "kernels", "report", "plan")


def block(name):
    return re.compile(rf"(```text {name}\n)(.*?)(```)", re.DOTALL)


@pytest.fixture(scope="module")
def names():
    """What the first example defines, and what that of a loop adds."""
    found = {}
    for code in re.findall(r"```python\n(.*?)```", PATH.read_text(), re.DOTALL):
        if "lowered = " in code or "loop = " in code:
            exec(code, found)
    return found


@pytest.fixture(scope="module")
def lowered(names):
    return names["lowered"]


@pytest.mark.parametrize("stage", [*STAGES, "loop"])
def test_stage(names, lowered, stage, request):
    if stage == "loop":
        text = names["loop"].as_text("plan")
    else:
        text = lowered.report() if stage == "report" else lowered.as_text(stage)
    page = PATH.read_text()
    if request.config.getoption("--update-golden"):
        PATH.write_text(block(stage).sub(lambda m: f"{m[1]}{text}\n{m[3]}", page))
    else:
        assert block(stage).search(page)[2] == text + "\n"


def test_the_code_for_a_processor(lowered, monkeypatch):
    monkeypatch.setattr(pipeline, "host_target", lambda: TARGETS["avx512"][0])
    (shown,) = re.findall(r"```llvm\n(.*?)```", PATH.read_text(), re.DOTALL)
    assert shown in pipeline.Pipeline(simplified(lowered.jaxpr)).code.llvm


def test_the_code_runs(lowered):
    assert lowered.cost_analysis()["host calls"] == 0
