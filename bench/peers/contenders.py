"""The cases, and how each contender is started and its output read.

Every measurement is a process of its own, so that no contender leaves its threads or memory to the next.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

CHILD = pathlib.Path(__file__).resolve().parent / "llama_child.py"
# Of all that hold a cache of fixed size, where memory or the time to a first token is measured.
CONTEXT_TOKENS = 2304
MIB = 1 << 20


@dataclass(frozen=True)
class Speed:
    """Tokens a second of a prompt and of generation, from `depth` tokens in the cache."""

    prompt: int
    generate: int
    depth: int = 0
    batch: int = 1

    @property
    def context(self):
        return self.depth + max(self.prompt, self.generate)

    def tests(self, prefill, decode):
        """The speeds under llama-bench's names."""
        suffix = (f" @ d{self.depth}" if self.depth else "") + (f", batch {self.batch}" if self.batch > 1 else "")
        named = {f"pp{self.prompt}": prefill, f"tg{self.generate}{suffix}": decode}
        return {name: (value, "tokens/s") for name, value in named.items() if value is not None}


@dataclass(frozen=True)
class Memory:
    """Peak resident memory of a process after a prompt and some tokens more."""

    prompt: int
    generate: int

    def tests(self, peak_bytes):
        return {f"memory after {self.prompt} + {self.generate}": (peak_bytes / MIB, "MiB")}


@dataclass(frozen=True)
class FirstToken:
    """Time to first token of an answer."""

    prompt: str

    def tests(self, milliseconds):
        return {"first token": (milliseconds, "ms")}


# In the order of `--tests`.
CASES = {
    "short": [Speed(prompt=512, generate=128)],
    "deep": [Speed(prompt=0, generate=32, depth=2048)],
    "batch": [Speed(prompt=0, generate=32, batch=8)],
    "memory": [Memory(prompt=512, generate=128), Memory(prompt=2048, generate=32)],
    "start": [FirstToken(prompt="Why is the sky blue?")],
}


@dataclass(frozen=True)
class Finished:
    """A process that ended well."""

    output: str
    # From the process's start to the first byte that it wrote.
    first_byte_ms: float
    peak_bytes: int


def finish(command, environment=()):
    """Runs a process to its end, watching time and memory; without success it ends the program."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TINYLLM_")}
    with tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=errors, env=inherited | dict(environment))
        with process.stdout as stdout:
            output = stdout.read(1)
            first_byte_ms = 1e3 * (time.perf_counter() - start)
            output += stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        if process.returncode:
            sys.exit(f"{' '.join(map(str, command))}: exit status {process.returncode}\n{errors.read()[-2000:]}")
        return Finished(output.decode(), first_byte_ms, usage.ru_maxrss * 1024)


def read_into_cache(path):
    """Has the system hold a file, or a directory's files, in memory."""
    for file in path.iterdir() if path.is_dir() else [path]:
        with open(file, "rb") as contents:
            while contents.read(1 << 20):
                pass


@dataclass(frozen=True)
class Model:
    """One model in both formats."""

    name: str
    q8_0: pathlib.Path
    w8a16: pathlib.Path


@dataclass(frozen=True)
class Tinyllm:
    """This project's program."""

    name: str
    program: pathlib.Path
    # Where the program comes from, in words.
    origin: str
    flags: tuple = ()
    environment: dict = field(default_factory=dict)
    # Whose figures are divided by whose: a contender names the tinyllm it is compared with.
    against = None

    def describe(self, model):
        config = json.loads((model.w8a16 / "config.json").read_text())["quantization_config"]
        return {
            "version": finish([self.program, "--version"]).output.strip(),
            "program": self.origin,
            "weights": f"W8A16, groups of {config['config_groups']['group_0']['weights']['group_size']}",
            "kv_cache": "f16",
            "flags": " ".join(self.flags),
            "environment": self.environment,
        }

    def measure(self, case, model, threads):
        if isinstance(case, Speed):
            # Mapped weights are for little memory and a quick start, not for speed.
            return {} if "--mmap" in self.flags else case.tests(*self.speed(case, model, threads))
        options = [*self.flags, "--threads", threads, "--ctx-size", CONTEXT_TOKENS, "--temp", 0]
        command = [self.program, "run", model.w8a16, *options]
        if isinstance(case, FirstToken):
            read_into_cache(model.w8a16)
            return case.tests(finish([*command, case.prompt, "-n", 1], self.environment).first_byte_ms)
        ids = ",".join(str(3 + index * 37 % 30000) for index in range(case.prompt))
        command += ["--ids", ids, "-n", case.generate, "--ignore-eos", "--json"]
        return case.tests(finish(command, self.environment).peak_bytes)

    def speed(self, case, model, threads):
        command = [self.program, "bench", model.w8a16, *self.flags, "-p", case.prompt, "-n", case.generate,
                   "-d", case.depth, "-b", case.batch, "-r", 1, "-t", threads, "-o", "json"]
        rows = json.loads(finish(command, self.environment).output)
        speeds = {row["test"][:2]: row["tokens_per_s"] for row in rows}
        return speeds.get("pp"), speeds.get("tg")


@dataclass(frozen=True)
class Llama:
    """llama.cpp through llama-cpp-python, its weights mapped, or copied into huge pages."""

    name: str
    python: pathlib.Path
    cmake_arguments: str
    is_copied: bool
    against: str
    # The first token's prompt as the model reads it, where that is measured.
    template: pathlib.Path | None

    def describe(self, model):
        return json.loads(finish([self.python, CHILD, "describe", model.q8_0]).output) | {
            "cmake_arguments": self.cmake_arguments,
            "weights": "Q8_0, " + ("copied into huge pages" if self.is_copied else "mapped"),
            "kv_cache": "f16",
            "environment": self.environment(),
        }

    def measure(self, case, model, threads):
        if isinstance(case, FirstToken):
            read_into_cache(model.q8_0)
            command = self.child("first-token", model, threads, CONTEXT_TOKENS) + ["--prompt-file", self.template]
            return case.tests(self.answer(command)["first_token_ms"])
        counts = ["--prompt", case.prompt, "--generate", case.generate]
        if isinstance(case, Memory):
            command = self.child("speed", model, threads, CONTEXT_TOKENS) + counts
            finished = finish(command, self.environment())
            return case.tests(finished.peak_bytes - json.loads(finished.output)["resident_before_bytes"])
        command = self.child("speed", model, threads, case.context) + counts
        answer = self.answer(command + ["--depth", case.depth, "--batch", case.batch, "--warm-up"])
        return case.tests(answer.get("prefill_tokens_per_s"), answer.get("decode_tokens_per_s"))

    def child(self, verb, model, threads, context):
        copied = ["--copied"] if self.is_copied else []
        return [self.python, CHILD, verb, model.q8_0, "--threads", threads, "--context", context, *copied]

    def environment(self):
        return {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"} if self.is_copied else {}

    def answer(self, command):
        return json.loads(finish(command, self.environment()).output)


@dataclass(frozen=True)
class Candle:
    """candle's quantized LLaMA."""

    name: str
    program: pathlib.Path
    # The crates' version and the flags of the build.
    build: dict
    against: str

    def describe(self, _model):
        return self.build | {"weights": "Q8_0, copied", "kv_cache": "f32"}

    def measure(self, case, model, threads):
        # It has no tokenizer and no batches of sequences here.
        if isinstance(case, FirstToken) or (isinstance(case, Speed) and case.batch > 1):
            return {}
        environment = {"RAYON_NUM_THREADS": str(threads)}
        command = [self.program, model.q8_0, case.prompt, case.generate]
        if isinstance(case, Memory):
            return case.tests(finish([*command, 0], environment).peak_bytes)
        answer = json.loads(finish([*command, case.depth, "warm-up"], environment).output)
        return case.tests(answer.get("prefill_tokens_per_s"), answer.get("decode_tokens_per_s"))
