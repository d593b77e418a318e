"""Writes a model of TinyLlama-1.1B's shape with random weights, as an F16 GGUF.

The speed of an engine does not depend on what the weights are, and this needs no download of 2 GB. The vocabulary is one that
engines accept (SentencePiece, 32,000 tokens of Latin letters), not one that means anything. Needs numpy:

    python random_model.py OUT.gguf
"""

import itertools
import pathlib
import string
import struct
import sys

import numpy

NAME = "random weights in TinyLlama-1.1B's shape"
HIDDEN_SIZE = 2048
LAYERS = 22
HEADS = 32
KV_HEADS = 4
INTERMEDIATE_SIZE = 5632
VOCABULARY = 32000
MAX_POSITION = 2048
WEIGHT_SCALE = 0.02
SEED = 1

# GGUF: a magic, a version, counts, key and value pairs, tensor headers, then data at multiples of the alignment.
# https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
VERSION = 3
ALIGNMENT = 32
TENSOR_F32, TENSOR_F16 = 0, 1
U32, I32, F32, STRING, ARRAY = 4, 5, 6, 8, 9
FORMATS = {U32: "<I", I32: "<i", F32: "<f"}


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def scalar(kind, value):
    return text(value) if kind == STRING else struct.pack(FORMATS[kind], value)


def pair(key, kind, value):
    """A key and its value; a list is an array of that type."""
    if isinstance(value, list):
        items = b"".join(scalar(kind, item) for item in value)
        return text(key) + struct.pack("<IIQ", ARRAY, kind, len(value)) + items
    return text(key) + struct.pack("<I", kind) + scalar(kind, value)


def vocabulary():
    """Pieces, scores and types: three special tokens, 256 bytes, then words of letters, the shortest first."""
    words = ("".join(letters) for length in itertools.count(1)
             for letters in itertools.product("▁" + string.ascii_lowercase, repeat=length))
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    unknown, control, byte, normal = 2, 3, 6, 1
    types = [unknown, control, control] + [byte] * 256
    pieces += itertools.islice(words, VOCABULARY - len(pieces))
    types += [normal] * (VOCABULARY - len(types))
    scores = [0.0] * 259 + [-float(rank) for rank in range(VOCABULARY - 259)]
    return pieces, scores, types


def metadata():
    pieces, scores, types = vocabulary()
    return [
        pair("general.architecture", STRING, "llama"),
        pair("general.name", STRING, NAME),
        pair("general.file_type", U32, 1),
        pair("llama.context_length", U32, MAX_POSITION),
        pair("llama.embedding_length", U32, HIDDEN_SIZE),
        pair("llama.block_count", U32, LAYERS),
        pair("llama.feed_forward_length", U32, INTERMEDIATE_SIZE),
        pair("llama.attention.head_count", U32, HEADS),
        pair("llama.attention.head_count_kv", U32, KV_HEADS),
        pair("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        pair("llama.rope.dimension_count", U32, HIDDEN_SIZE // HEADS),
        pair("llama.rope.freq_base", F32, 10000.0),
        pair("llama.vocab_size", U32, VOCABULARY),
        pair("tokenizer.ggml.model", STRING, "llama"),
        pair("tokenizer.ggml.tokens", STRING, pieces),
        pair("tokenizer.ggml.scores", F32, scores),
        pair("tokenizer.ggml.token_type", I32, types),
        pair("tokenizer.ggml.unknown_token_id", U32, 0),
        pair("tokenizer.ggml.bos_token_id", U32, 1),
        pair("tokenizer.ggml.eos_token_id", U32, 2),
    ]


def tensors():
    """Names and shapes, rows first; one dimension is a norm."""
    kv_size = HIDDEN_SIZE // HEADS * KV_HEADS
    yield "token_embd.weight", (VOCABULARY, HIDDEN_SIZE)
    for layer in range(LAYERS):
        for name, shape in (
            ("attn_norm", (HIDDEN_SIZE,)),
            ("attn_q", (HIDDEN_SIZE, HIDDEN_SIZE)),
            ("attn_k", (kv_size, HIDDEN_SIZE)),
            ("attn_v", (kv_size, HIDDEN_SIZE)),
            ("attn_output", (HIDDEN_SIZE, HIDDEN_SIZE)),
            ("ffn_norm", (HIDDEN_SIZE,)),
            ("ffn_gate", (INTERMEDIATE_SIZE, HIDDEN_SIZE)),
            ("ffn_up", (INTERMEDIATE_SIZE, HIDDEN_SIZE)),
            ("ffn_down", (HIDDEN_SIZE, INTERMEDIATE_SIZE)),
        ):
            yield f"blk.{layer}.{name}.weight", shape
    yield "output_norm.weight", (HIDDEN_SIZE,)
    yield "output.weight", (VOCABULARY, HIDDEN_SIZE)


def values(shape, random):
    if len(shape) == 1:
        return numpy.ones(shape, numpy.float32)
    return (random.standard_normal(shape, numpy.float32) * numpy.float32(WEIGHT_SCALE)).astype(numpy.float16)


def aligned(size):
    return -(-size // ALIGNMENT) * ALIGNMENT


def write(path):
    random = numpy.random.default_rng(SEED)
    listed = list(tensors())
    pairs = metadata()
    header = b"GGUF" + struct.pack("<IQQ", VERSION, len(listed), len(pairs)) + b"".join(pairs)
    offset = 0
    for name, shape in listed:
        kind, width = (TENSOR_F32, 4) if len(shape) == 1 else (TENSOR_F16, 2)
        # A GGUF has the fastest dimension first.
        sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        header += text(name) + sizes + struct.pack("<IQ", kind, offset)
        offset = aligned(offset + width * int(numpy.prod(shape)))
    with open(path, "wb") as file:
        file.write(header.ljust(aligned(len(header)), b"\0"))
        for _, shape in listed:
            data = values(shape, random).tobytes()
            file.write(data.ljust(aligned(len(data)), b"\0"))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: random_model.py OUT.gguf")
    write(pathlib.Path(sys.argv[1]))
