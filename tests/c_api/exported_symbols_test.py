"""The shared library shows every function of its header, and nothing else. Usage: exported_symbols_test.py LIBRARY"""

import pathlib
import re
import subprocess
import sys

HEADER = pathlib.Path(__file__).parents[2] / "pinion/codec/c/pinion_codec.h"


def main():
    listed = subprocess.run(["nm", "--dynamic", "--defined-only", "--format=posix", sys.argv[1]],
                            check=True, capture_output=True, text=True).stdout
    exported = {line.split()[0] for line in listed.splitlines()}
    text = re.sub(r"//.*", "", HEADER.read_text(encoding="utf-8"))
    declared = set(re.findall(r"\b(pinion_\w+)\(", text))
    assert len(declared) > 15, declared
    assert exported == declared, f"only in the library: {exported - declared}; missing: {declared - exported}"


if __name__ == "__main__":
    main()
