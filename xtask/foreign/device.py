"""The driver's C interface for kernels in PTX: modules, buffers as numpy arrays, launches. libcuda.so.1 is the emulated one."""
import ctypes, re
import numpy

CUDA = ctypes.CDLL("libcuda.so.1")
ENTRY = re.compile(r"^\s*(?:\.visible\s+|\.weak\s+)?\.entry\s+([\w$]+)", re.M)
ERROR_LOG, ERROR_LOG_BYTES = 5, 6  # CU_JIT_ERROR_LOG_BUFFER and its size
MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
STATIC_SHARED_LIMIT = 48 << 10


class Refused(Exception):
    """A call that failed: its name and the driver's code, with the driver's log where there is one."""


def call(name, *args):
    code = getattr(CUDA, name)(*args)
    if code: raise Refused(f"{name}: {code}")


class Buffer:
    """Memory of the device."""

    def __init__(self, size):
        self.address, self.bytes = ctypes.c_uint64(), size
        call("cuMemAlloc_v2", ctypes.byref(self.address), ctypes.c_size_t(size))

    def free(self):
        call("cuMemFree_v2", self.address)

    def write(self, array):
        array = numpy.ascontiguousarray(array)
        assert array.nbytes <= self.bytes
        call("cuMemcpyHtoD_v2", self.address, array.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(array.nbytes))

    def read(self, shape, dtype):
        array = numpy.empty(shape, dtype)
        call("cuMemcpyDtoH_v2", array.ctypes.data_as(ctypes.c_void_p), self.address, ctypes.c_size_t(array.nbytes))
        return array


class Module:
    """A text of PTX on the device, and the kernels in it."""

    def __init__(self, text):
        self.handle, self.entries = ctypes.c_void_p(), ENTRY.findall(text)
        log = ctypes.create_string_buffer(1 << 16)
        options = (ctypes.c_int * 2)(ERROR_LOG, ERROR_LOG_BYTES)
        values = (ctypes.c_void_p * 2)(ctypes.addressof(log), len(log))
        try: call("cuModuleLoadDataEx", ctypes.byref(self.handle), text.encode(), 2, options, values)
        except Refused as error: raise Refused(f"{error}: {log.value.decode(errors='replace').strip()}") from None

    def refused(self):
        """The kernels that are refused when they are asked for."""
        return [name for name in self.entries if CUDA.cuModuleGetFunction(ctypes.byref(ctypes.c_void_p()), self.handle, name.encode())]

    def find(self, pattern):
        """The one kernel whose name matches."""
        found = [name for name in self.entries if re.search(pattern, name)]
        if len(found) != 1: raise LookupError(f"{len(found)} kernels match {pattern}: {found[:4]}")
        return found[0]

    def unload(self):
        call("cuModuleUnload", self.handle)


class Device:
    """The first device, with everything that a case made on it; closing it frees that."""

    def __init__(self):
        self.device, self.context, self.owned = ctypes.c_int(), ctypes.c_void_p(), []
        call("cuInit", 0)
        call("cuDeviceGet", ctypes.byref(self.device), 0)
        call("cuDevicePrimaryCtxRetain", ctypes.byref(self.context), self.device)
        call("cuCtxSetCurrent", self.context)

    def put(self, array):
        buffer = self.empty(numpy.asarray(array).nbytes)
        buffer.write(array)
        return buffer

    def empty(self, size):
        self.owned.append(Buffer(size))
        return self.owned[-1]

    def launch(self, module, pattern, grid, block, *args, shared=0, stream=None, cooperative=False):
        """Arguments are buffers, numpy scalars, numpy arrays (structures by value) or None for a null pointer."""
        function = ctypes.c_void_p()
        call("cuModuleGetFunction", ctypes.byref(function), module.handle, module.find(pattern).encode())
        if shared > STATIC_SHARED_LIMIT: call("cuFuncSetAttribute", function, MAX_DYNAMIC_SHARED, shared)
        held = [numpy.uint64(0 if a is None else a.address.value) if a is None or isinstance(a, Buffer) else a for a in args]
        held = [numpy.ascontiguousarray(a) for a in held]
        addresses = (ctypes.c_void_p * max(len(held), 1))(*[a.ctypes.data for a in held])
        sizes = [*(tuple(grid) + (1, 1))[:3], *(tuple(block) + (1, 1))[:3]]
        if cooperative: call("cuLaunchCooperativeKernel", function, *sizes, shared, stream, addresses)
        else: call("cuLaunchKernel", function, *sizes, shared, stream, addresses, None)

    def synchronize(self):
        call("cuCtxSynchronize")

    def release(self):
        for buffer in self.owned: buffer.free()
        self.owned = []

    def close(self):
        self.release()
        call("cuDevicePrimaryCtxRelease_v2", self.device)
