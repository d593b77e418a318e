#!/usr/bin/env python3
"""Shows that what `tinyllm quantize` writes is read by transformers, with the same logits.

The model (SmolLM2-135M-Instruct unless another is named) is quantised with groups of 64, loaded by transformers with the
compressed-tensors package, and run in float32 over the same tokens as by `tinyllm logits`. The largest difference of any
logit must stay below 2e-2 with an f32 KV cache and below 6e-2 with the default f16 one.

    bench/transformers_compare.py --ids-file ids.json

needs Python 3.10 and a network the first time: it makes a virtual environment of its own (5.6 GB, torch's CUDA libraries
included, because the package index has no other build), pinned to the versions below. Exit status 1 where a bound is missed.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

PACKAGES = ["torch==2.15.0", "transformers==5.23.0", "compressed-tensors==0.20.0", "numpy"]
ROOT = pathlib.Path(__file__).resolve().parent.parent
RUNS = [
    # flags of `tinyllm logits`, bound
    (["--embeddings", "f16", "--kv", "f32"], 2e-2),
    (["--embeddings", "f16"], 6e-2),
]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2", help="a directory, .gguf file or alias")
    parser.add_argument("--ids-file", required=True, help="a JSON list of token ids, or an object with one as `ids`")
    parser.add_argument("--tokens", type=int, default=512, help="how many of them to use")
    parser.add_argument("--first", type=int, default=512, help="the first of them")
    parser.add_argument("--tinyllm", help="the program; built from this checkout without it")
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    parser.add_argument("--venv", type=pathlib.Path, default=cache / "tinyllm" / "transformers-venv")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def environment(folder):
    """The virtual environment's interpreter; made where it is missing."""
    python = folder / "bin" / "python"
    done = folder / "packages.json"
    if not done.exists() or json.loads(done.read_text()) != PACKAGES:
        print(f"installing {', '.join(PACKAGES)} into {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True, stdout=sys.stderr)
        done.write_text(json.dumps(PACKAGES))
    return python


def reference(folder, ids_file, out):
    """Runs inside the environment: transformers' logits, as raw float32."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = json.loads(pathlib.Path(ids_file).read_text())
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].float()
    logits.numpy().tofile(out)
    text = "The tokenizer came along: it's 42, naïve, 東京."
    tokenizer = AutoTokenizer.from_pretrained(folder)
    kinds = sorted({type(module).__name__ for module in model.modules() if "Linear" in type(module).__name__})
    print(json.dumps({
        "shape": list(logits.shape),
        "linear_modules": kinds,
        "text": text,
        "text_ids": tokenizer(text, add_special_tokens=False)["input_ids"],
    }))


def main():
    options = arguments()
    python = environment(options.venv)
    program = options.tinyllm
    if program is None:
        subprocess.run(["cargo", "build", "--release", "--quiet", "--package", "tinyllm-cli"], cwd=ROOT, check=True)
        program = ROOT / "target" / "release" / "tinyllm"
    ids = json.loads(pathlib.Path(options.ids_file).read_text())
    ids = (ids["ids"] if isinstance(ids, dict) else ids)[options.first : options.first + options.tokens]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        quantized = folder / "w8a16"
        subprocess.run([program, "quantize", options.model, quantized, "--group-size", "64", "--json"],
                       check=True, stdout=subprocess.DEVNULL)
        (folder / "ids.json").write_text(json.dumps(ids))
        command = [python, __file__, "--reference", quantized, folder / "ids.json", folder / "logits.f32"]
        theirs = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        import array
        expected = array.array("f", (folder / "logits.f32").read_bytes())
        ours_ids = json.loads(subprocess.run([program, "tokenize", quantized, theirs["text"]],
                                             check=True, capture_output=True).stdout)["ids"]
        results = []
        for flags, bound in RUNS:
            command = [program, "logits", quantized, "--ids", ",".join(map(str, ids)), "--weights", "w8a16",
                       "--json", *flags]
            rows = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["logits"]
            vocabulary = theirs["shape"][1]
            worst = max(abs(value - expected[position * vocabulary + index])
                        for position, row in enumerate(rows) for index, value in enumerate(row))
            same = sum(max(range(vocabulary), key=row.__getitem__)
                       == max(range(vocabulary), key=lambda i: expected[position * vocabulary + i])
                       for position, row in enumerate(rows))
            results.append({"flags": " ".join(flags), "largest_difference": worst, "bound": bound,
                            "same_top_token": same / len(rows), "ok": worst <= bound})
    tokenizer_ok = ours_ids == theirs["text_ids"]
    if options.json:
        print(json.dumps({"model": options.model, "tokens": len(ids), "packages": PACKAGES,
                          "linear_modules": theirs["linear_modules"], "tokenizer_ok": tokenizer_ok, "runs": results}))
    else:
        print(f"{options.model}, {len(ids)} tokens; transformers' linear modules: {', '.join(theirs['linear_modules'])}")
        for run in results:
            print(f"{run['flags']}: largest difference {run['largest_difference']:.2e} (bound {run['bound']:.0e}), "
                  f"the same top token at {100 * run['same_top_token']:.1f} % of positions")
        print(f"tokenizer: {'the same ids' if tokenizer_ok else 'other ids'}")
    return 0 if tokenizer_ok and all(run["ok"] for run in results) else 1


if __name__ == "__main__":
    if len(sys.argv) == 5 and sys.argv[1] == "--reference":
        reference(*sys.argv[2:])
    else:
        sys.exit(main())
