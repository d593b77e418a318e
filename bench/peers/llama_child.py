"""llama.cpp in a process of its own: what `compare.py` starts with the Python that has llama_cpp.

Prints one JSON object. It calls llama.cpp's C functions and nothing of the package's own layers, as llama-bench does:
llama_decode, then llama_synchronize, logits of the last token only. A call through ctypes takes microseconds and a token
milliseconds.
"""

import argparse
import ctypes
import json
import pathlib
import re
import sys
import time

import llama_cpp as api

# A prompt is prefilled in chunks of this many tokens, which is llama-bench's default for n_ubatch.
CHUNK_TOKENS = 512
ERROR_LEVEL = 4


@api.llama_log_callback
def log(level, text, _user_data):
    """Errors only: a thousand lines of loading would be in the time to a first token."""
    if level == ERROR_LEVEL:
        sys.stderr.write(text.decode(errors="replace"))


api.llama_log_set(log, None)


def resident_bytes():
    """What this process holds now: before a model is loaded, the interpreter's own share."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


class Llama:
    """A model and its context."""

    def __init__(self, path, threads, context_tokens, is_copied, sequences=1):
        api.llama_backend_init()
        model_parameters = api.llama_model_default_params()
        model_parameters.load_mode = api.LLAMA_LOAD_MODE_NONE if is_copied else api.LLAMA_LOAD_MODE_MMAP
        self.model = api.llama_model_load_from_file(str(path).encode(), model_parameters)
        if not self.model:
            raise SystemExit(f"{path}: llama.cpp cannot load it")
        self.vocabulary = api.llama_model_get_vocab(self.model)
        self.vocabulary_size = api.llama_vocab_n_tokens(self.vocabulary)
        parameters = api.llama_context_default_params()
        parameters.n_ctx = context_tokens * sequences
        parameters.n_batch = CHUNK_TOKENS
        parameters.n_ubatch = CHUNK_TOKENS
        parameters.n_seq_max = sequences
        parameters.n_threads = threads
        parameters.n_threads_batch = threads
        self.context = api.llama_init_from_model(self.model, parameters)
        if not self.context:
            raise SystemExit(f"{path}: llama.cpp cannot make a context of {parameters.n_ctx} tokens")

    def clear(self):
        api.llama_memory_clear(api.llama_get_memory(self.context), True)

    def decode(self, batch):
        status = api.llama_decode(self.context, batch)
        if status:
            raise SystemExit(f"llama_decode answered {status}")
        api.llama_synchronize(self.context)

    def prefill(self, tokens):
        for start in range(0, len(tokens), CHUNK_TOKENS):
            chunk = tokens[start : start + CHUNK_TOKENS]
            # Held here: a batch only points to its tokens.
            room = (api.llama_token * len(chunk))(*chunk)
            self.decode(api.llama_batch_get_one(room, len(chunk)))

    def generate(self, count):
        """One token after another; which ones does not matter for the time."""
        token = (api.llama_token * 1)()
        for step in range(count):
            token[0] = step * 11 % self.vocabulary_size
            self.decode(api.llama_batch_get_one(token, 1))

    def generate_batch(self, count, sequences):
        """The same for several sequences at once."""
        batch = api.llama_batch_init(sequences, 0, 1)
        batch.n_tokens = sequences
        for step in range(count):
            for index in range(sequences):
                batch.token[index] = step * 11 % self.vocabulary_size
                batch.pos[index] = step
                batch.n_seq_id[index] = 1
                batch.seq_id[index][0] = index
                batch.logits[index] = True
            self.decode(batch)
        api.llama_batch_free(batch)

    def tokens(self, count):
        return [index * 37 % self.vocabulary_size for index in range(count)]


def speed(options):
    """Tokens a second of a prompt and of generation, each from `depth` tokens in the cache."""
    before = resident_bytes()
    llama = Llama(options.model, options.threads, options.context, options.copied, options.batch)
    answer = {"resident_before_bytes": before}
    if options.warm_up:
        # As llama-bench: the prompt once, then a token.
        llama.prefill(llama.tokens(options.prompt))
        llama.clear()
        llama.generate(1)
    for name, count, run in (
        ("prefill_tokens_per_s", options.prompt, lambda: llama.prefill(llama.tokens(options.prompt))),
        ("decode_tokens_per_s", options.generate * options.batch, lambda: generate(llama, options)),
    ):
        if count:
            llama.clear()
            llama.prefill(llama.tokens(options.depth))
            start = time.perf_counter()
            run()
            answer[name] = count / (time.perf_counter() - start)
    return answer


def generate(llama, options):
    if options.batch == 1:
        llama.generate(options.generate)
    else:
        llama.generate_batch(options.generate, options.batch)


def first_token(options):
    """Milliseconds from the imported package to the first token of an answer: load, tokenize, prefill, sample."""
    text = options.prompt_file.read_bytes()
    start = time.perf_counter()
    llama = Llama(options.model, options.threads, options.context, options.copied)
    room = (api.llama_token * (len(text) + 8))()
    count = api.llama_tokenize(llama.vocabulary, text, len(text), room, len(room), False, True)
    llama.prefill(list(room[:count]))
    sampler = api.llama_sampler_init_greedy()
    token = api.llama_sampler_sample(sampler, llama.context, -1)
    piece = ctypes.create_string_buffer(256)
    length = api.llama_token_to_piece(llama.vocabulary, token, piece, len(piece), 0, True)
    milliseconds = 1e3 * (time.perf_counter() - start)
    return {"first_token_ms": milliseconds, "prompt_tokens": count, "text": piece.raw[:length].decode(errors="replace")}


def quantize(options):
    """Writes a GGUF again as Q8_0, whatever its tensors are now."""
    parameters = api.llama_model_quantize_default_params()
    parameters.ftype = api.LLAMA_FTYPE_MOSTLY_Q8_0
    parameters.allow_requantize = True
    status = api.llama_model_quantize(str(options.model).encode(), str(options.out).encode(), ctypes.byref(parameters))
    if status:
        raise SystemExit(f"{options.model}: llama_model_quantize answered {status}")
    return {}


def flash_attention(model):
    """Whether attention is fused: `auto` is decided when a context is made, and only the log says how."""
    lines = []

    @api.llama_log_callback
    def keep(_level, text, _user_data):
        lines.append(text.decode(errors="replace"))

    api.llama_log_set(keep, None)
    Llama(model, threads=1, context_tokens=CHUNK_TOKENS, is_copied=False)
    api.llama_log_set(log, None)
    asked = api.llama_flash_attn_type_name(api.llama_context_default_params().flash_attn_type).decode()
    decided = re.search(r"Flash Attention (?:was auto, set to )?(enabled|disabled)", "".join(lines))
    return f"{asked} (the default)" + (f", here {decided[1]}" if decided else "")


def describe(options):
    """What this llama.cpp is, in its own words."""
    folder = pathlib.Path(api.__file__).parent / "lib"
    compilers = re.findall(rb"(?:GCC: \(|[\w ]*clang version )[^\0]+", (folder / "libggml-cpu.so").read_bytes())
    return {
        "llama-cpp-python": api.__version__,
        "llama.cpp": api.llama_version().decode(),
        "system_info": api.llama_print_system_info().decode().strip(),
        "compiler": ", ".join(sorted({compiler.decode() for compiler in compilers})),
        "flash_attention": flash_attention(options.model),
    }


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("describe")
    verb.set_defaults(run=describe)
    verb.add_argument("model", type=pathlib.Path)
    verb = verbs.add_parser("quantize")
    verb.set_defaults(run=quantize)
    verb.add_argument("model", type=pathlib.Path)
    verb.add_argument("out", type=pathlib.Path)
    for name, run in (("speed", speed), ("first-token", first_token)):
        verb = verbs.add_parser(name)
        verb.set_defaults(run=run)
        verb.add_argument("model", type=pathlib.Path)
        verb.add_argument("--threads", type=int, required=True)
        verb.add_argument("--context", type=int, required=True, help="tokens of the cache, for each sequence")
        verb.add_argument("--copied", action="store_true", help="read the weights instead of mapping them")
        if run is first_token:
            verb.add_argument("--prompt-file", type=pathlib.Path, required=True, help="the text as the model reads it")
            continue
        verb.add_argument("--prompt", type=int, default=0)
        verb.add_argument("--generate", type=int, default=0)
        verb.add_argument("--depth", type=int, default=0)
        verb.add_argument("--batch", type=int, default=1)
        verb.add_argument("--warm-up", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    options = arguments()
    print(json.dumps(options.run(options)))
