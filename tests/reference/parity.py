"""Writes the tables of docs/parity.md: how near Troupe is to the references, as the tests find it.

    python tests/reference/parity.py

Runs the tests of the crates that compare themselves with goldens, and puts what they print between the marks of the page:
every table has a line that begins with `<!-- table: ` and one that says `<!-- end -->`.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "parity.md"
CRATES = ["troupe-sampler", "troupe-models", "troupe-render", "troupe-audit"]
SCHEDULES = ["uniform", "normal", "karras", "exponential", "sgm_uniform", "simple", "zero_snr"]
NAMES = {"ddim_eta": "ddim, η = 0.6"}


def parities():
    """What follows `parity` in the lines of the tests."""
    command = ["cargo", "test", "--release", "--locked", *(word for it in CRATES for word in ("-p", it)), "--", "--nocapture"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(run.stdout + run.stderr)
    return re.findall(r"parity (sampler|lora|close) (.+)", run.stdout)


def samplers(lines):
    errors = {}
    for line in lines:
        sampler, schedule, error = line.split()
        errors.setdefault(sampler, {})[schedule] = error
    yield "| sampler | " + " | ".join(SCHEDULES) + " |"
    yield "|---" * (1 + len(SCHEDULES)) + "|"
    for sampler, of in sorted(errors.items()):
        yield f"| {NAMES.get(sampler, sampler)} | " + " | ".join(of.get(it, "") for it in SCHEDULES) + " |"


def loras(lines):
    yield from ["| kind | relative error |", "|---|---|"]
    yield from sorted(lines)


def goldens(lines):
    """The worst of each test, and how much it is allowed."""
    tests = {}
    for line in lines:
        file, test, _, error, allowed = (it.strip() for it in line.strip("| ").split(" | "))
        of = tests.setdefault((file.removeprefix("crates/"), test.split("::")[-1].replace("_", " ")), [])
        of.append((float(error), float(allowed)))
    yield from ["| file | test | comparisons | worst | allowed |", "|---|---|---|---|---|"]
    for (file, test), of in sorted(tests.items()):
        worst, allowed = max(of)
        yield f"| `{file}` | {test} | {len(of)} | {worst:.1e} | {allowed:.0e} |"


def main():
    found = parities()
    of = lambda kind: [line for it, line in found if it == kind]
    tables = {"samplers": samplers(of("sampler")), "loras": loras(of("lora")), "goldens": goldens(of("close"))}
    page = PAGE.read_text()
    for name, table in tables.items():
        begin = f"<!-- table: {name} -->\n"
        if begin not in page:
            sys.exit(f"{PAGE} has no line `{begin.strip()}`")
        before, rest = page.split(begin, 1)
        page = before + begin + "\n".join(table) + "\n" + rest[rest.index("<!-- end -->"):]
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
