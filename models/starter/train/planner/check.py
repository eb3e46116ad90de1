"""Says whether words or prompts that the planner must not have seen are in the generator or in what it makes.

    python check.py [COUNT]
"""
import random
import re
import sys
from pathlib import Path

import dev
import generate
import words


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20000
    kept_back = {path.read_text().strip().lower() for path in (words.REPOSITORY / "prompts/groups").glob("*.txt")}
    kept_back |= {prompt.lower() for prompt, _ in dev.PROMPTS}
    found = []
    for source in sorted(Path(__file__).parent.glob("*.py")):
        text = source.read_text().lower()
        found += [f"{source.name} has `{word}`" for word in words.UNSEEN if re.search(rf"\b{word}s?\b", text)]
    for index in range(count):
        prompt, _ = generate.pair(random.Random(index))
        if words.is_unseen(prompt):
            found.append(f"made with an unseen word: {prompt}")
        if prompt.lower().rstrip(".!") in kept_back:
            found.append(f"made as it stands in a test: {prompt}")
    print("\n".join(found) or f"nothing kept back is in the sources or in {count} prompts")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
