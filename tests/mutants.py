#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Does a test notice? Bugs are planted into a copy of the sources, one at a time.

    tests/mutants.py [WORD...]    those of tests/mutants.list that have all the words in
                                  their first line; exit status 1: one was not caught
    tests/mutants.py --table      the list as doc/reliability.md has it

BUILD says where (build/mutants), LIST which list. The copy's tests are linked with a shared
library that exports everything, so that a bug takes one compilation and one link. Where the
test that is named does not fail, the whole quick suite is tried, unless NAMED=1.

The list has for each bug a line `FILE TEST: what`, lines `-text` that are to be found
exactly once in the file, and lines `+text` to be there instead. TEST is the NAME of
test_NAME.c; `none`: nothing can be seen of it, and `what` says why.
"""
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build" / "mutants")).resolve()
SOURCES = BUILD / "sources"
LIST = pathlib.Path(os.environ.get("LIST", ROOT / "tests" / "mutants.list"))
NAMED_ONLY = os.environ.get("NAMED") == "1"
LIMIT = 300  # seconds; a test that never ends has noticed
SUITE_LIMIT = 3600  # of the whole suite, whose tests have limits of their own


class Mutant:
    def __init__(self, head):
        self.file, self.test, self.what = re.fullmatch(r"(\S+) (\S+): (.*)", head).groups()
        self.old, self.new = [], []

    def apply(self):
        """The file with the bug; None when the text is not there once."""
        text = (ROOT / self.file).read_text()
        old = "\n".join(self.old)
        return text.replace(old, "\n".join(self.new)) if text.count(old) == 1 else None


def read_list():
    mutants = []
    for line in LIST.read_text().splitlines():
        if line.startswith("-"):
            mutants[-1].old.append(line[1:])
        elif line.startswith("+"):
            mutants[-1].new.append(line[1:])
        elif line and not line.startswith("#"):
            mutants.append(Mutant(line))
    return mutants


def table(mutants):
    """A row for all bugs of a file that the same test catches."""
    rows = {}
    for m in mutants:
        rows.setdefault((m.file.removeprefix("lib/"), m.test), []).append(m.what)
    print("| file | bugs | caught by |\n|---|---|---|")
    for (file, test_name), bugs in rows.items():
        caught = "none" if test_name == "none" else f"test_{test_name}"
        print(f"| {file} | {'. '.join(b[0].upper() + b[1:] for b in bugs)} | {caught} |")


def run(*command, limit=LIMIT):
    """True when it ended well in time. The log says in its last line that it did not."""
    log = BUILD / "log"
    try:
        with log.open("w") as out:
            return subprocess.run(command, stdout=out, stderr=out, timeout=limit,
                                  check=False).returncode == 0
    except subprocess.TimeoutExpired:
        with log.open("a") as out:
            print(f"\nno end after {limit} s", file=out)
        return False


# Everything exported by a shared library, which the tests are linked with.
BUILD_CHANGES = (
    ("gnu_symbol_visibility: 'hidden'", "gnu_symbol_visibility: 'default'"),
    ("have_map = cc.links", "have_map = false and cc.links"),
    ("msw_objects = libmsw.extract_all_objects(recursive: true)", "msw_objects = []"),
    ("msw_internal_dep = declare_dependency(",
     "msw_internal_dep = declare_dependency(link_with: libmsw.get_shared_lib(),\n  "))


def copy(name):
    """Only what has changed, with a new time, so that ninja sees what it must build."""
    data = (ROOT / name).read_bytes()
    if name == "lib/meson.build":
        text = data.decode()
        for old, new in BUILD_CHANGES:
            assert old in text, old
            text = text.replace(old, new)
        data = text.encode()
    to = SOURCES / name
    to.parent.mkdir(parents=True, exist_ok=True)
    if not to.exists() or to.read_bytes() != data:
        to.write_bytes(data)
        to.chmod((ROOT / name).stat().st_mode)


def set_up():
    for name in subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, text=True,
                               capture_output=True).stdout.splitlines():
        copy(name)
    if not (BUILD / "build" / "build.ninja").exists():
        subprocess.run(["meson", "setup", BUILD / "build", SOURCES, "-Dtests=enabled",
                        "-Dexamples=disabled", "-Ddoc=disabled"], check=True)
    subprocess.run(["ninja", "-C", BUILD / "build"], check=True)


def build(*targets):
    return run("ninja", "-C", str(BUILD / "build"), *targets)


def passes(name):
    return run(str(BUILD / "build" / "tests" / f"test_{name}"))


def all_pass():
    return build() and run("meson", "test", "-C", str(BUILD / "build"), "--no-rebuild",
                           "--maxfail", "1", "--timeout-multiplier", "4", "--suite",
                           "quick", limit=SUITE_LIMIT)


def failed_tests():
    """Their names, or why there are none: it is for people."""
    log = (BUILD / "log").read_text(errors="replace")
    names = re.findall(r"^ *\d+/\d+ (?:\S+:\S+ / )?(.*?) +(?:FAIL|TIMEOUT|ERROR)", log, re.M)
    if names:
        return ", ".join(names)
    last = log.strip().splitlines()[-1:] or ["nothing in the log"]
    return f"the whole suite ({last[0].strip()})"


def try_out(m):
    """What came out; and whether that is what the list says."""
    text = m.apply()
    if text is None:
        return "text not found once", False
    if m.test == "none":
        return "nothing to see", True
    (SOURCES / m.file).write_text(text)
    try:
        if not build(f"tests/test_{m.test}"):
            return "does not build", False
        if not passes(m.test):
            return f"caught by {m.test}", True
        if not NAMED_ONLY and not all_pass():
            return f"caught by {failed_tests()}, not by {m.test}", False
        return "NOT CAUGHT", False
    finally:
        copy(m.file)


def main(words):
    mutants = read_list()
    if words == ["--table"]:
        table(mutants)
        return 0
    mutants = [m for m in mutants
               if all(w in f"{m.file} {m.test}: {m.what}" for w in words)]
    set_up()
    for name in sorted({m.test for m in mutants} - {"none"}):
        if not passes(name):
            sys.exit(f"{name} fails without a bug")
    bad = 0
    for m in mutants:
        result, good = try_out(m)
        bad += not good
        print(f"{m.file}: {m.what}: {result}", flush=True)
    print(f"{len(mutants) - bad} as listed, {bad} not")
    return bad != 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
