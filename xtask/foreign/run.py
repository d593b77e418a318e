"""run.py PROGRAM FOLDER [CASE…]: loads a program's modules from FOLDER, runs its cases and compares each with its reference. A line of
JSON for each module and each case; findings are the emulator's own to report."""
import importlib, json, pathlib, sys
import numpy
from device import Device, Module, Refused


def say(**line):
    print(json.dumps(line), flush=True)


def load(name, text):
    try: module = Module(text)
    except Refused as error: return say(module=name, loads=False, why=str(error))
    refused = module.refused()
    say(module=name, loads=True, kernels=len(module.entries), refused=refused)
    return module


def compare(got, want, tolerance):
    """The greatest difference, over the greatest value if that is more than one."""
    want = numpy.asarray(want, numpy.float64)
    error = float(numpy.abs(numpy.asarray(got, numpy.float64) - want).max() / max(1, numpy.abs(want).max()))
    return {"error": error, "tolerance": tolerance, "right": error <= tolerance}


def run(device, name, case, module):
    try: say(case=name, **compare(*case(device, module)))
    except (Refused, LookupError) as error: say(case=name, right=False, why=str(error))
    finally: device.release()


def main(program, folder, *names):
    program, device = importlib.import_module(program), Device()
    wanted = {name: program.CASES[name] for name in names or program.CASES}
    for path in sorted(pathlib.Path(folder).glob("*.ptx")):
        name = path.stem
        if names and name not in {module for module, _ in wanted.values()}: continue
        module = load(name, path.read_text())
        for case in [case for case, (of, _) in wanted.items() if of == name]:
            if module: run(device, case, wanted[case][1], module)
            else: say(case=case, right=False, why="its module does not load")
        if module: module.unload()
        wanted = {case: value for case, value in wanted.items() if value[0] != name}
    for case, (name, _) in wanted.items(): say(case=case, right=False, why=f"there is no {name}.ptx")
    device.close()


main(*sys.argv[1:])
