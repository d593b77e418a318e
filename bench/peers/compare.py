#!/usr/bin/env python3
"""Compares tinyllm with llama.cpp and candle on this machine: prefill, decode, memory, time to first token.

llama.cpp comes as llama-cpp-python, built from its source distribution for this processor, and is called as llama-bench calls
it; candle comes as a crate. The same model is Q8_0 for them and W8A16 for tinyllm. In each round every contender runs each
test once, in turn, in a process of its own; medians are over rounds, ratios are taken within a round.

    bench/peers/compare.py --out result.json

needs Python 3.10, a Rust toolchain, a C and C++ compiler, and a network and 8 GB of disk the first time. Everything that it makes is
kept in the folder of --work. README.md in this folder says more.
"""

import argparse
import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import prepare
import report
from contenders import CASES, CONTEXT_TOKENS, Candle, Llama, Memory, Model, Speed, Tinyllm, finish

TINYLLM = ("tinyllm", "tinyllm-mmap")
LLAMA = ("llama.cpp", "llama.cpp-copied")
# Only where the processor has AVX-512: without it the native builds are these.
AVX2_ONLY = ("tinyllm-avx2", "llama.cpp-avx2")
NAMES = (*TINYLLM, *LLAMA, "candle", *AVX2_ONLY)


def one_of(names):
    """A parser of lists whose elements are among `names`; the order is that of `names`."""
    def parse(text):
        asked = text.split(",")
        for name in asked:
            if name not in names:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(names)}")
        return [name for name in names if name in asked]
    return parse


def positive(text):
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def thread_list(text):
    return sorted({positive(word) for word in text.split(",")})


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    parser.add_argument("--work", type=pathlib.Path, default=cache / "tinyllm" / "peers",
                        help="where builds and models are kept [%(default)s]")
    parser.add_argument("--models", type=one_of(tuple(prepare.MODELS)), default=list(prepare.MODELS),
                        help=f"of {', '.join(prepare.MODELS)} [all]")
    parser.add_argument("--contenders", type=one_of(NAMES), default=list(NAMES), help=f"of {', '.join(NAMES)} [all]")
    parser.add_argument("--tests", type=one_of(tuple(CASES)), default=list(CASES), help=f"of {', '.join(CASES)} [all]")
    parser.add_argument("--threads", type=thread_list, default=sorted({1, min(2, os.cpu_count())}),
                        help="a list; memory and first token take the largest [1,2]")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--tinyllm", type=pathlib.Path, help="the program; built from this checkout without it")
    parser.add_argument("--out", type=pathlib.Path, help="a JSON file to write")
    options = parser.parse_args()
    if options.tinyllm and not options.tinyllm.is_file():
        parser.error(f"--tinyllm {options.tinyllm}: no such file")
    if options.out and not options.out.absolute().parent.is_dir():
        parser.error(f"--out {options.out}: no such folder")
    if max(options.threads) > os.cpu_count():
        parser.error(f"--threads {max(options.threads)}: this machine has {os.cpu_count()}")
    return options


def prompt_as_read(tinyllm, model, folder):
    """A file with the prompt of the first-token test in the model's chat template: what both programs read."""
    messages = [{"role": "user", "content": next(case.prompt for case in CASES["start"])}]
    (folder / "messages.json").write_text(json.dumps(messages))
    text = finish([tinyllm, "template", model.w8a16, folder / "messages.json"]).output
    (folder / "prompt.txt").write_text(text)
    return folder / "prompt.txt"


def first_line(command):
    output = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=prepare.ROOT)
    return output.stdout.strip().splitlines()[0] if output.returncode == 0 and output.stdout.strip() else None


def contenders_of(options, tinyllm, native, template):
    """The selected contenders, built."""
    made = []
    for name in options.contenders:
        if name == "candle":
            program = prepare.candle_program(options.work / "candle")
            made.append(Candle(name, program, prepare.candle_build(), "tinyllm"))
        elif name.startswith("tinyllm"):
            flags = ("--mmap",) if name == "tinyllm-mmap" else ()
            environment = {"TINYLLM_CPU": "avx2"} if name in AVX2_ONLY else {}
            origin = "built elsewhere" if options.tinyllm else "built from this checkout"
            made.append(Tinyllm(name, tinyllm, origin, flags, environment))
        elif name in AVX2_ONLY:
            python = prepare.llama_python(options.work / "llama-avx2", prepare.AVX2)
            made.append(Llama(name, python, prepare.AVX2, False, "tinyllm-avx2", template))
        else:
            made.append(Llama(name, native, prepare.NATIVE, name == "llama.cpp-copied", "tinyllm", template))
    return made


def plan(options, models):
    """Every case of a round: model, case, threads."""
    for model in models:
        for test in options.tests:
            if test == "start" and model.name != "smollm2":
                # Random weights have no chat template and no answer.
                continue
            for case in CASES[test]:
                for threads in options.threads if isinstance(case, Speed) else options.threads[-1:]:
                    yield model, case, threads


def heading(options, contenders, models, notes):
    """What was compared, where and how: all of the result but its rows."""
    shown = {name: ",".join(map(str, getattr(options, name))) for name in ("models", "contenders", "tests", "threads")}
    choices = [f"--{name} {value}" for name, value in shown.items()]
    return {
        "command": " ".join(["bench/peers/compare.py", *choices, f"--rounds {options.rounds}"]),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "commit": first_line(["git", "describe", "--always", "--dirty", "--exclude=*"]),
        "machine": report.machine(),
        "versions": {"rustc": first_line(["rustc", "--version"])}
        | {contender.name: contender.describe(models[0]) for contender in contenders},
        "models": {model.name: prepare.MODELS[model.name] for model in models},
        "context_tokens_of_memory_and_first_token": CONTEXT_TOKENS,
        "notes": notes,
    }


def measure(options, contenders, cases, result):
    """Runs the rounds; the result has all rows so far, and is written, after each case."""
    samples = report.Samples()
    for turn in range(options.rounds):
        for model, case, threads in cases:
            if isinstance(case, Memory) and turn > 0:
                # What a program holds does not vary.
                continue
            for contender in contenders:
                prepare.step(f"round {turn + 1} of {options.rounds}: {model.name}, {case}, {threads} threads, {contender.name}")
                with report.Others() as others:
                    measured = contender.measure(case, model, threads)
                for test, (value, unit) in measured.items():
                    samples.add(model.name, test, threads, contender.name, value, unit, others.share)
            result["rows"] = samples.rows(contenders)
            if options.out:
                report.write(options.out, result)


def main():
    options = arguments()
    notes = []
    if any(name in AVX2_ONLY for name in options.contenders) and "avx512f" not in report.processor_flags():
        options.contenders = [name for name in options.contenders if name not in AVX2_ONLY]
        notes.append("no AVX-512 here: the native builds are the AVX2 ones, so those are not measured apart")
    if not options.contenders:
        sys.exit(f"nothing to measure: {notes[0]}")
    options.work = options.work.absolute()
    options.work.mkdir(parents=True, exist_ok=True)
    tinyllm = options.tinyllm.absolute() if options.tinyllm else prepare.tinyllm_program()
    native = prepare.llama_python(options.work / "llama", prepare.NATIVE)
    models = [Model(name, *prepare.model(name, options.work / "models", native, tinyllm)) for name in options.models]
    with tempfile.TemporaryDirectory() as folder:
        has_start = "start" in options.tests and models[0].name == "smollm2"
        template = prompt_as_read(tinyllm, models[0], pathlib.Path(folder)) if has_start else None
        contenders = contenders_of(options, tinyllm, native, template)
        result = heading(options, contenders, models, notes)
        for model in models:
            prepare.read_through(model)
        measure(options, contenders, list(plan(options, models)), result)
    print(report.markdown(result["rows"]))
    for note in notes:
        print(f"\n{note}")


if __name__ == "__main__":
    main()
