"""Faults planted in other people's kernels: edits of the PTX that was just compiled, and faults of the host around unedited kernels.

planted.py list: a line of JSON for each fault, with the kinds of finding that name it.
planted.py run NAME FOLDER: plants it, runs the kernel, and prints the lines of PTX that a report may name. `run control:NAME` runs the
same case with nothing planted."""
import ctypes, json, pathlib, sys
from typing import Callable, NamedTuple
import numpy as np
import candle, llama, marlin
from device import Device, Module, Refused, call
from edits import bounded, removed, replaced, skipped, unedited, without

RACE, GLOBAL, BOUNDS, UNWRITTEN, ALIGN = ["shared_race"], ["global_race"], ["out_of_bounds"], ["uninitialized"], ["misaligned"]
LANES, DIVERGENCE = ["warp_divergence", "inactive_lane"], ["barrier_divergence"]
ENDLESS = ["endless"]
MARLIN, RMS, ATTENTION = r"ILi256ELi1ELi8ELi8ELi4ELin1E", r"rms_norm_f32ILi256ELb0ELb0ELb0E", r"flash_attn_ext_vecILi64ELi1EL9ggml_type1ELS0_1ELb0E"
SOFTMAX = r"soft_max_f32ILb1ELi0ELi0EfE"


class Fault(NamedTuple):
    what: str
    program: object
    case: str
    kinds: list
    edit: Callable
    # Run instead of the case, where the fault is the host's.
    host: Callable = None


def use_after_free(device, module):
    x, out = device.empty(4 * 300), device.empty(4 * 300)
    x.write(candle.data(1, 300))
    x.free()
    device.owned.remove(x)
    device.launch(module, "^softmax_f32$", (1,), (1, 32), x, out, np.int32(300))
    device.synchronize()


def no_event(device, module):
    """Two kernels on two streams, the second of which reads what the first writes."""
    streams = [ctypes.c_void_p() for _ in range(2)]
    for stream in streams: call("cuStreamCreate", ctypes.byref(stream), 1)
    x, between, out = device.put(candle.data(1, 300)), device.empty(4 * 300), device.empty(4 * 300)
    device.launch(module, "^softmax_f32$", (1,), (1, 32), x, between, np.int32(300), stream=streams[0])
    device.launch(module, "^softmax_f32$", (1,), (1, 32), between, out, np.int32(300), stream=streams[1])
    device.synchronize()
    for stream in streams: call("cuStreamDestroy_v2", stream)


def changed_source(device, module):
    """The host writes its next input to page-locked memory before it has waited for the copy of the last from there."""
    x, out = device.empty(4 * 300), device.empty(4 * 300)
    host, stream = ctypes.c_void_p(), ctypes.c_void_p()
    call("cuMemAllocHost_v2", ctypes.byref(host), ctypes.c_size_t(x.bytes))
    call("cuStreamCreate", ctypes.byref(stream), 1)
    staging = np.ctypeslib.as_array(ctypes.cast(host, ctypes.POINTER(ctypes.c_float)), (300,))
    staging[:] = candle.data(1, 300)
    call("cuMemcpyHtoDAsync_v2", x.address, host, ctypes.c_size_t(x.bytes), stream)
    device.launch(module, "^softmax_f32$", (1,), (1, 32), x, out, np.int32(300), stream=stream)
    staging[:] = candle.data(2, 300)
    call("cuStreamSynchronize", stream)
    call("cuStreamDestroy_v2", stream)
    call("cuMemFreeHost", host)


def short_shared(device, module):
    x, out = device.put(candle.data(8, 1, 100)), device.empty(400)
    device.launch(module, "^asort_asc_f32$", (1,), (128,), x, out, np.int32(100), np.int32(128), shared=127 * 4)
    device.synchronize()


def unwritten_input(device, module):
    x, out = device.empty(4 * 300), device.empty(4 * 300)
    device.launch(module, "^softmax_f32$", (1,), (1, 32), x, out, np.int32(300))
    device.synchronize()


def too_many_rows(device, module):
    x, out = device.put(candle.data(1, 3, 300)), device.empty(4 * 900)
    device.launch(module, "^softmax_f32$", (4,), (1, 32), x, out, np.int32(300))
    device.synchronize()


FAULTS = [
    # What orders threads of a block.
    Fault("rmsnorm: no barrier after the warps' sums", candle, "rmsnorm", RACE, removed("^rmsnorm_f32$", r"bar\.sync")),
    Fault("layernorm: no barrier after the warps' sums", candle, "layernorm", RACE, removed("^layernorm_f32$", r"bar\.sync")),
    Fault("argsort: no barrier after the indices", candle, "argsort", RACE, removed("^asort_asc_f32$", r"bar\.sync", 0)),
    Fault("argsort: no barrier between two steps", candle, "argsort", RACE, removed("^asort_asc_f32$", r"bar\.sync", 1)),
    Fault("q4_0 matvec: no barrier before the fold", candle, "q4_0 matvec", RACE, removed("^mul_mat_vec_q4_0_q8_1_cuda1$", r"bar\.sync")),
    Fault("argmax: no barrier before the fold", llama, "argmax", RACE, removed("argmax_f32", r"bar\.sync")),
    Fault("transpose: no barrier in the first tile", llama, "cpy transpose", RACE, removed("cpy_scalar_transposeIfE", r"bar\.sync")),
    Fault("cumsum: no barrier before the carry", llama, "cumsum", RACE, removed("cumsum_kernelIf", r"bar\.sync", -1)),
    Fault("softmax: no barrier between two reductions", llama, "softmax", RACE, removed(SOFTMAX, r"bar\.sync", 1)),
    Fault("group_norm: no barrier in the second reduction", llama, "group_norm", RACE, removed("group_norm_f32ILi1024E", r"bar\.sync", -1)),
    Fault("attention: no __syncwarp after the scores", llama, "flash attention", RACE, removed(ATTENTION, r"bar\.warp\.sync")),
    Fault("Marlin: no barrier after the first stage", marlin, "13 x 512 x 256, one scale a column", RACE + UNWRITTEN, removed(MARLIN, r"bar\.sync", 0)),
    Fault("Marlin: no wait for the first stage's copies", marlin, "13 x 512 x 256, one scale a column", RACE + UNWRITTEN,
          removed(MARLIN, r"cp\.async\.wait_group 2", 0)),
    Fault("Marlin: no barrier between two folds", marlin, "13 x 512 x 256, one scale a column", RACE,
          removed(MARLIN, r"bar\.sync", 5)),
    Fault("rms_norm: a barrier that most threads skip", llama, "rms_norm", DIVERGENCE + RACE, skipped(RMS, r"bar\.sync", 40)),
    Fault("argsort: a barrier that half a warp skips", candle, "argsort", DIVERGENCE + RACE, skipped("^asort_asc_f32$", r"bar\.sync", 16, 1)),
    # What orders blocks.
    Fault("Marlin: no fence before the lock is handed on", marlin, "13 x 512 x 256, one scale a column", GLOBAL,
          without(MARLIN, r"fence\.acq_rel\.gpu", r"st\.global\.v4|cp\.async\.cg\.shared\.global \[")),
    Fault("Marlin: a relaxed load instead of an acquire", marlin, "13 x 512 x 256, one scale a column", GLOBAL,
          bounded(MARLIN, r"ld\.global\.acquire", r"ld\.global\.acquire\.gpu", "ld.relaxed.gpu.global", r"st\.global\.v4|cp\.async\.cg\.shared\.global \[")),
    Fault("Marlin: a lock that is not updated atomically", marlin, "13 x 512 x 256, one scale a column", GLOBAL,
          # What it would have released: the lock's next owner, and what that reads.
          bounded(MARLIN, r"red\.relaxed", r"red\.relaxed\.gpu\.global\.add\.s32 \[(%\w+)\], (%\w+);",
                  r"{.reg .s32 t; ld.global.s32 t, [\1]; add.s32 t, t, \2; st.global.s32 [\1], t;}",
                  r"ld\.global\.acquire|st\.global|cp\.async\.cg\.shared\.global \[")),
    Fault("sum: an update that is not atomic", candle, "sum", GLOBAL,
          replaced("^sum_f32$", r"atom\.global\.add", r"atom\.global\.add\.f32\s+%\w+, \[(%\w+)\], (%\w+);",
                   r"{.reg .f32 t; ld.global.f32 t, [\1]; add.f32 t, t, \2; st.global.f32 [\1], t;}")),
    Fault("rmsnorm: every block writes row 0", candle, "rmsnorm", GLOBAL,
          bounded("^rmsnorm_f32$", r"mov\.u32\s+%\w+, %ctaid\.x", r"%ctaid\.x", "0", r"st\.global")),
    # Bounds, addresses, initialisation.
    Fault("rope: bound + 1", candle, "rope", BOUNDS, bounded("^rope_f32$", r"setp\.ge\.u32", "ge", "gt", r"(ld|st)\.global", 0)),
    Fault("scale: bound + 1", llama, "scale", BOUNDS, bounded("scale_f32IfE", r"setp\.ge\.s64", "ge", "gt", r"(ld|st)\.global", 0)),
    Fault("argsort: padded columns are written", candle, "argsort", BOUNDS,
          bounded("^asort_asc_f32$", r"setp\.ge\.s32", r"(%\w+), (%\w+);", r"\1, 128;", r"st\.global", -1)),
    Fault("rope neox: stride of pairs", llama, "rope neox", BOUNDS,
          replaced(r"rope_neoxILb1ELb0EffE", r"st\.global", r"\[(%\w+)\]", r"[\1+4096]", -1)),
    Fault("transpose: wrong stride in the tile", llama, "cpy transpose", BOUNDS + UNWRITTEN,
          bounded("cpy_scalar_transposeIfE", r"mad\.lo\.s32.*, 132,", "132", "264", r"(ld|st)\.shared", 0)),
    Fault("Marlin: rows beyond the last are copied", marlin, "13 x 512 x 256, one scale a column", BOUNDS,
          bounded(MARLIN, r"setp\.ne\.b32 p, ", r"setp\.ne\.b32 p, (%\w+), 0", r"setp.ge.u32 p, \1, 0", r"cp\.async\.cg\.shared\.global", 0)),
    Fault("exp: reads 4,096 bytes further, in a neighbouring allocation", candle, "exp", BOUNDS,
          replaced("^uexp_f32$", r"ld\.global\.f32", r"\[(%\w+)\]", r"[\1+4096]")),
    Fault("rmsnorm: the warps' sums are not written", candle, "rmsnorm", UNWRITTEN, without("^rmsnorm_f32$", r"st\.shared", r"ld\.shared")),
    Fault("group_norm: the first sums are not written", llama, "group_norm", UNWRITTEN, without("group_norm_f32ILi1024E", r"st\.shared", r"ld\.shared")),
    Fault("rope: an address that is not a multiple of 4", candle, "rope", ALIGN, replaced("^rope_f32$", r"ld\.global\.f32", r"\[(%\w+)\]", r"[\1+2]", 0)),
    Fault("Marlin: a vector that is not aligned", marlin, "16 x 256 x 256, groups of 128", ALIGN,
          replaced(r"ILi256ELi1ELi8ELi8ELi4ELi8E", r"ld\.shared\.v4\.u32", r"\[(%\w+)([+\-\d]*)\]", r"[\1+8]", 0)),
    Fault("sin: beyond the thread's array", candle, "sin", BOUNDS, replaced("^usin_f32$", r"st\.local", r"\[(%\w+)([+\-\d]*)\]", r"[\1+64]", 0)),
    # Warps.
    Fault("softmax: half a warp in the mask", candle, "softmax", LANES,
          bounded("^softmax_f32$", r"mov\.u32\s+%\w+, -1;", "-1", "65535", r"shfl\.sync", 0)),
    Fault("quantize_q8_1: lanes end before a shuffle reads them", candle, "quantize_q8_1", LANES,
          bounded("^quantize_q8_1$", r"setp\.ge\.s32", r", (%\w+);", r", 240;", r"shfl\.sync", 0)),
    Fault("rms_norm: a shuffle from a lane beyond the mask", llama, "rms_norm", LANES,
          replaced(RMS, r"shfl\.sync", r"shfl\.sync\.bfly\.b32\s+(%\w+)\|%\w+, (%\w+), .*;",
                   r"{.reg .u32 t; .reg .pred q; mov.u32 t, %laneid; setp.lt.u32 q, t, 8; @q shfl.sync.idx.b32 \1, \2, 20, 31, 255;}", 5)),
    # No end.
    Fault("exp: a loop whose step is 0", candle, "exp", ENDLESS,
          bounded("^uexp_f32$", r"add\.s32\s+(%\w+), \1, %\w+;", r", %\w+;$", ", 0;", r"(ld|st)\.global|bra|setp", None)),
    Fault("Marlin: a lock that is never handed on", marlin, "13 x 512 x 256, one scale a column", ENDLESS,
          bounded(MARLIN, r"red\.relaxed", r"^.*$", "", r"ld\.global\.acquire|setp\.ne\.s32|bra")),
    # The host's.
    Fault("softmax: its input was freed", candle, "softmax", ["use_after_free"], unedited("^softmax_f32$", r"ld\.global"), use_after_free),
    Fault("softmax: no event between two streams", candle, "softmax", ["stream_race"], unedited("^softmax_f32$", r"(ld|st)\.global"), no_event),
    Fault("softmax: its input's page-locked source is changed before the copy was done", candle, "softmax", ["source_changed"],
          unedited("^softmax_f32$"), changed_source),
    Fault("softmax: its input was never written", candle, "softmax", UNWRITTEN, unedited("^softmax_f32$", r"ld\.global"), unwritten_input),
    Fault("softmax: a block too many", candle, "softmax", BOUNDS, unedited("^softmax_f32$", r"(ld|st)\.global"), too_many_rows),
    Fault("argsort: shared memory 4 bytes short", candle, "argsort", BOUNDS, unedited("^asort_asc_f32$", r"(ld|st)\.shared"), short_shared),
]


def run(name, folder):
    control = name.startswith("control:")
    fault = next(fault for fault in FAULTS if fault.what == name.removeprefix("control:"))
    of, case = fault.program.CASES[fault.case]
    text, lines = pathlib.Path(folder, of + ".ptx").read_text(), []
    if not control: text, lines = fault.edit(text)
    print(json.dumps({"lines": [line + 1 for line in lines]}), flush=True)
    device = Device()
    module = Module(text)
    try: (case if control or not fault.host else fault.host)(device, module)
    except Refused as error: print(json.dumps({"error": str(error)}), flush=True)
    # After a fault of the device nothing can be freed, and nothing is reported as a leak.
    try:
        module.unload()
        device.close()
    except Refused: pass



if sys.argv[1] == "list":
    for fault in FAULTS: print(json.dumps({"what": fault.what, "program": fault.program.__name__, "case": fault.case, "kinds": fault.kinds}))
else:
    run(*sys.argv[2:])
