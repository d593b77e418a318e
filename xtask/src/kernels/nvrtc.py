"""Compiles CUDA C++ to PTX with NVRTC: nvrtc.py LIBRARY SOURCE OUTPUT OPTION..."""
import ctypes, pathlib, sys

library, source, output, *options = sys.argv[1:]
nvrtc = ctypes.CDLL(library)


def call(name, *arguments):
    code = getattr(nvrtc, name)(*arguments)
    if code:
        nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
        raise SystemExit(f"{name}: {nvrtc.nvrtcGetErrorString(code).decode()}")


def text(kind):
    size = ctypes.c_size_t()
    call(f"nvrtcGet{kind}Size", program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    call(f"nvrtcGet{kind}", program, buffer)
    return buffer.value.decode()


program = ctypes.c_void_p()
path = pathlib.Path(source)
call("nvrtcCreateProgram", ctypes.byref(program), path.read_bytes(), path.name.encode(), 0, None, None)
encoded = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
compiled = nvrtc.nvrtcCompileProgram(program, len(options), encoded)
if log := text("ProgramLog").strip():
    print(log, file=sys.stderr)
if compiled:
    raise SystemExit(1)
pathlib.Path(output).write_text(text("PTX"))
