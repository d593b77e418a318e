"""From samples to rows: medians, and how tinyllm compares in the rounds themselves."""

import json
import os
import pathlib
import resource
import statistics
import time

COLUMNS = ["model", "test", "threads", "contender", "unit", "median", "min", "max", "ratio", "others"]
# Of these less is better.
COSTS = ("ms", "MiB")


class Others:
    """The share of the machine's cores that others took meanwhile, the hypervisor's other guests included: on a shared
    machine this says which figures to doubt. Programs whose threads spin while they wait suffer most."""

    def __enter__(self):
        self.before = self.now()
        return self

    def __exit__(self, *_):
        wall, busy, ours = (after - before for after, before in zip(self.now(), self.before))
        self.share = max(0.0, busy - ours) / (wall * os.cpu_count())

    @staticmethod
    def now():
        """Seconds: of the clock, of all cores at work, of this program's children that have ended."""
        first = pathlib.Path("/proc/stat").read_text().split("\n")[0]
        user, nice, system, _idle, _iowait, *rest = map(int, first.split()[1:9])
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        ticks = user + nice + system + sum(rest)
        return time.perf_counter(), ticks / os.sysconf("SC_CLK_TCK"), children.ru_utime + children.ru_stime


class Samples:
    """What was measured, by test and contender, one value a round."""

    def __init__(self):
        self.values = {}
        self.others = {}
        self.units = {}

    def add(self, model, test, threads, contender, value, unit, others):
        key = (model, test, threads)
        self.units[key] = unit
        self.values.setdefault(key, {}).setdefault(contender, []).append(value)
        self.others.setdefault(key, {}).setdefault(contender, []).append(others)

    def rows(self, contenders):
        """A row for each test and contender. `ratio` is how many times better tinyllm is: the median over the rounds of
        one program's value over the other's in the same round, so that a slow minute of the machine cancels out."""
        rows = []
        for key, by_name in self.values.items():
            unit = self.units[key]
            for contender in contenders:
                values, ours = by_name.get(contender.name), by_name.get(contender.against)
                if values is None:
                    continue
                ratios = [theirs / mine if unit in COSTS else mine / theirs for mine, theirs in zip(ours or [], values)]
                row = (*key, contender.name, unit, statistics.median(values), min(values), max(values),
                       statistics.median(ratios) if ratios else None,
                       statistics.median(self.others[key][contender.name]))
                by_round = {"values": values, "others_by_round": self.others[key][contender.name]}
                rows.append(dict(zip(COLUMNS, row)) | by_round | {"against": contender.against})
        return rows


def markdown(rows):
    """The rows as a table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    for row in rows:
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        figures = [f"{row[name]:.1f}" for name in ("median", "min", "max")]
        cells = [*(row[name] for name in COLUMNS[:5]), *figures, ratio, f"{row['others']:.0%}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def write(path, result):
    """Writes a temporary file and renames it, so that no partial result is left."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    os.replace(temporary, path)


def processor_flags():
    """The instruction sets that the processor names."""
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.split(":")[1].split())
    return set()


def machine():
    """The machine, as far as it bears on speed."""
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = next((line.split(":")[1].strip() for line in cpuinfo.splitlines() if line.startswith("model name")), "unknown")
    huge_pages = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
    sets = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8") if name in processor_flags()]
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "instruction_sets": sets,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "transparent_huge_pages": huge_pages.read_text().strip() if huge_pages.exists() else "none",
        "kernel": os.uname().release,
    }
