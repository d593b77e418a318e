"""Edits of one kernel in a text of PTX, found by pattern. Each gives the edited text and the lines that a report may name: an edited
instruction or the one beside it; where an instruction was taken out that ordered accesses, those accesses."""
import re
from device import ENTRY

INSTRUCTION = re.compile(r"^\s*(?![./$}{(\s)])\S.*;|^\s*\{.*;|^\s*@")
BARRIER = re.compile(r"\b(bar|barrier)\.(warp\.)?sync\b")
ACCESS = re.compile(r"\b(ld|st|atom|red|ldmatrix|cp\.async\.c[ag])\b")


class Kernel:
    """The lines of the one kernel whose name matches."""

    def __init__(self, text, name):
        self.lines = text.split("\n")
        starts = [i for i, line in enumerate(self.lines) if ENTRY.match(line)]
        own = [i for i in starts if re.search(name, ENTRY.match(self.lines[i]).group(1))]
        if len(own) != 1: raise LookupError(f"{len(own)} kernels match {name}")
        self.start = own[0]
        depth, self.end = 0, self.start
        while True:
            code = self.lines[self.end].split("//")[0]
            depth += code.count("{") - code.count("}")
            if depth == 0 and "}" in code: break
            self.end += 1

    def at(self, pattern, nth=0):
        """The line of the nth instruction that matches."""
        found = self.all(pattern)
        if not -len(found) <= nth < len(found): raise LookupError(f"{len(found)} lines match {pattern}")
        return found[nth]

    def all(self, pattern):
        return [i for i in range(self.start, self.end) if re.search(pattern, self.lines[i]) and not self.lines[i].lstrip().startswith("//")]

    def rewrite(self, line, old, new):
        before = self.lines[line]
        self.lines[line] = re.sub(old, new, before, count=1)
        if self.lines[line] == before: raise LookupError(f"{old} is not in {before}")

    def beside(self, line):
        """A line, and the instructions before and after it."""
        code = [i for i in range(self.start, self.end) if INSTRUCTION.search(self.lines[i])]
        before, after = [i for i in code if i < line][-1:], [i for i in code if i > line][:1]
        return [*before, line, *after]

    def ordered(self, line):
        """The accesses from the barrier before a line to the barrier after it."""
        barriers = [i for i in range(self.start, self.end) if BARRIER.search(self.lines[i]) and i != line]
        low, high = max([i for i in barriers if i < line], default=self.start), min([i for i in barriers if i > line], default=self.end)
        return [i for i in range(low, high) if ACCESS.search(self.lines[i])]

    def text(self):
        return "\n".join(self.lines)


def replaced(name, pattern, old, new, nth=None):
    """One instruction, written otherwise; without a number all that match, as compilers write a loop's body several times."""
    def edit(text):
        kernel = Kernel(text, name)
        lines = kernel.all(pattern) if nth is None else [kernel.at(pattern, nth)]
        for line in lines: kernel.rewrite(line, old, new)
        return kernel.text(), [near for line in lines for near in kernel.beside(line)]
    return edit


def removed(name, pattern, nth=0):
    """An instruction that orders accesses, taken out."""
    def edit(text):
        kernel = Kernel(text, name)
        line = kernel.at(pattern, nth)
        kernel.lines[line] = ""
        return kernel.text(), kernel.ordered(line)
    return edit


def skipped(name, pattern, threads, nth=0):
    """A barrier that threads from a number on skip: seen at the barrier, or at the accesses that it does not order."""
    def edit(text):
        kernel = Kernel(text, name)
        line = kernel.at(pattern, nth)
        lines = kernel.ordered(line)
        guard = "{.reg .pred q; .reg .u32 t; mov.u32 t, %%tid.x; setp.lt.u32 q, t, %d; @q bar.sync 0;}" % threads
        kernel.rewrite(line, r"bar\.sync\s+0;", guard)
        return kernel.text(), kernel.beside(line) + lines
    return edit


def without(name, pattern, seen, nth=0):
    """A store taken out; what is seen of it is the accesses that match."""
    def edit(text):
        kernel = Kernel(text, name)
        kernel.lines[kernel.at(pattern, nth)] = ""
        return kernel.text(), kernel.all(seen)
    return edit


def bounded(name, pattern, old, new, access, nth=0):
    """A comparison, a mask or a step that accesses depend on, written otherwise, without a number all that match; what is seen of it is
    the accesses that match."""
    def edit(text):
        kernel = Kernel(text, name)
        lines = kernel.all(pattern) if nth is None else [kernel.at(pattern, nth)]
        for line in lines: kernel.rewrite(line, old, new)
        return kernel.text(), [near for line in lines for near in kernel.beside(line)] + kernel.all(access)
    return edit


def unedited(name, access=None):
    """Nothing, for faults of the host: the accesses that match are what is seen; without a pattern it is no instruction's."""
    def edit(text):
        kernel = Kernel(text, name)
        return text, kernel.all(access) if access else []
    return edit
