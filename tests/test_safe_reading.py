"""No file of a study can run code, hang its reader or fill its memory: nothing in the packages loads a pickle, or YAML
that makes objects, and nothing opens a study's file but `ltsweep.store`, which reads regular files within limits.
"""

import ast
import subprocess
import sys
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
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value and "SafeLoader" in ast.unparse(node.value):
            safe |= {dotted(one) for one in (node.targets if isinstance(node, ast.Assign) else [node.target])}
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
    for name in ("loader", "loader: Any"):
        assert (
            faults(f"import yaml\n{name} = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)\nyaml.load(text, loader)")
            == []
        )


# Methods and functions that open a file, whatever they are called on.
OPENERS = {"open", "fdopen", "read_text", "read_bytes", "readlines", "fromfile", "memmap", "memory_map"}
OPENERS |= {"safe_open", "load_file", "read_table", "read_parquet", "read_csv", "read_json", "ParquetFile"}
# Readers of what another has opened: that other is to be of the store, which reads what it parses itself.
PARSERS = {"json.load", "yaml.load", "yaml.safe_load"}

# Files outside the store that open something, each with the reason.
OPEN_OTHERS = {
    "src/ltsweep/engine/gemm.py": "the kernel's description of the processor",
    "src/ltsweep/run/hardware.py": "the kernel's description of the processor and the memory",
    "src/ltsweep/data/mnist.py": "data files of the user, which must have published hashes",
    "src/ltsweep/data/published.py": "data files of the user, which must have published hashes",
    "src/ltsweep/data/folder.py": "pictures of the user's own: regular files, read within limits",
    "src/ltsweep/data/text.py": "texts of the user's own: regular files, read within limits",
    "src/ltsweep/show/streams.py": "/dev/null, in place of a stream that is closed",
    "multirun_analysis/__main__.py": "/dev/null, in place of a stream that is closed",
    "multirun_analysis/configs.py": "a YAML of the package",
    "multirun_analysis/figures/__init__.py": "a figure of the user's own, which is a program",
    "multirun_analysis/report/__init__.py": "a file of the package",
    "multirun_analysis/report/command.py": "YAMLs of the package",
    "multirun_analysis/stamp.py": "the sources of the package",
}


def opened(source):
    """Return the lines of a source that open a file, or parse one that is open."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            last = node.func.attr if isinstance(node.func, ast.Attribute) else name
            found += [node.lineno] * (last in OPENERS or name in PARSERS)
    return found


def is_excused(path):
    name = str(path.relative_to(ROOT))
    return any(name == one or name.startswith(f"{one}/") for one in OPEN_OTHERS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_store_alone_opens_files(path):
    if (ROOT / "src/ltsweep/store") not in path.parents and not is_excused(path):
        assert opened(path.read_text()) == []


@pytest.mark.parametrize("name", OPEN_OTHERS)
def test_each_exception_is_still_one(name):
    path = ROOT / name
    assert any(opened(one.read_text()) for one in ([path] if path.is_file() else path.rglob("*.py")))


@pytest.mark.parametrize(
    "source",
    [
        "path.read_text()",
        "path.read_bytes()[-10:]",
        "open(path)",
        "path.open('rb')",
        "os.open(path, 0)",
        "json.load(file)",
        "yaml.load(text, yaml.SafeLoader)",
        "pq.read_table(path)",
        "pq.ParquetFile(path)",
        "safe_open(path, 'np')",
        "load_file(path)",
        "np.fromfile(path)",
    ],
)
def test_each_way_to_open_a_file_would_be_found(source):
    assert opened(source) == [1]


@pytest.mark.parametrize("module", ["ltsweep.status", "multirun_analysis"])
@pytest.mark.parametrize("how", ["a script elsewhere", "python -P"])
def test_a_look_from_inside_a_strangers_folder_imports_nothing_of_it(tmp_path, module, how):
    """As SECURITY.md says: `python -m` alone would."""
    (tmp_path / "script.py").write_text(f"import runpy\nrunpy.run_module({module!r}, run_name='__main__')\n")
    (tmp_path / "theirs").mkdir()
    for name in ("yaml", "msgspec", "rich", "pandas", "numpy", "ltsweep", "multirun_analysis"):
        (tmp_path / f"theirs/{name}.py").write_text("print('a trap')\nraise SystemExit(7)\n")
    arguments = {"a script elsewhere": [str(tmp_path / "script.py")], "python -P": ["-P", "-m", module]}[how]
    if how == "python -P" and sys.version_info < (3, 11):
        pytest.skip("Python 3.10 has no such option")
    ended = subprocess.run(
        [sys.executable, *arguments, "."], cwd=tmp_path / "theirs", capture_output=True, text=True, timeout=120
    )
    assert "a trap" not in ended.stdout
    assert ended.returncode == 2
    assert "cells" in ended.stderr
