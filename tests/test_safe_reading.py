"""No file of a study can run code: nothing in the packages loads a pickle, or YAML that makes objects."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "multirun_analysis").rglob("*.py")])

# Modules that unpickle, and functions of others that do, or that run what they read.
MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "shelve", "marshal", "joblib"}
CALLS = {
    "torch.load",
    "np.load",
    "numpy.load",
    "pd.read_pickle",
    "pandas.read_pickle",
    "torch.hub.load",
    "torch.jit.load",
}
CALLS |= {"yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "yaml.unsafe_load_all", "eval", "exec"}
# Submitit's ways to a job's pickled result or submission.
SUBMITIT = {"result", "results", "exception", "submission"}


def dotted(node):
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def faults(source):
    """Return the lines of a source that could load a pickle, or run what they read."""
    tree, found = ast.parse(source), []
    # Names that hold a loader of plain YAML.
    safe = {"yaml.SafeLoader", "yaml.CSafeLoader"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and "SafeLoader" in ast.unparse(node.value):
            safe |= {dotted(target) for target in node.targets}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [node.lineno for name in node.names if name.name.partition(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            found += [node.lineno] * ((node.module or "").partition(".")[0] in MODULES)
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            loader = [*node.args[1:], *(k.value for k in node.keywords if k.arg == "Loader")]
            unsafe = name == "yaml.load" and not (loader and dotted(loader[0]) in safe)
            pickled = any(k.arg == "allow_pickle" and getattr(k.value, "value", True) for k in node.keywords)
            submitit = isinstance(node.func, ast.Attribute) and node.func.attr in SUBMITIT and "job" in name.lower()
            found += [node.lineno] * (name in CALLS or unsafe or pickled or submitit)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_can_load_a_pickle(path):
    assert faults(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import torch\ntorch.load('x')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import pandas as pd\npd.read_pickle('x')",
        "import yaml\nyaml.load(text)",
        "import yaml\nyaml.load(text, yaml.Loader)",
        "import yaml\nyaml.load(text, Loader=yaml.UnsafeLoader)",
        "jobs = executor.map_array(f, x)\n[job.result() for job in jobs]",
        "eval(text)",
    ],
)
def test_each_of_them_would_be_found(source):
    assert len(faults(source)) == 1


def test_loaders_of_plain_yaml_are_no_fault():
    assert faults("import yaml\nloader = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)\nyaml.load(text, loader)") == []
