#!/usr/bin/env python3
"""Checks the rules of the tree: who may include and link whom, names, sizes, and the paths that docs name.

Prints one line a problem, `file:line: what`, and exits with 1 if there was any. ./dev lint runs it.
"""

import pathlib
import re
import subprocess
import sys
from collections import defaultdict

# The table of ARCHITECTURE.md: folder of pinion/ -> the folders it may include and link.
FOLDERS = {
    "base": set(),
    "codec": {"base"},
    "transport": {"base"},
    "client": {"base", "codec", "transport"},
    "models": {"base"},
    "calibration": {"base", "codec", "models"},
    "worker": {"base", "codec", "transport", "models"},
    "pipeline": {"base", "client", "models"},
    "cli": {"base", "codec", "transport", "client", "models", "calibration", "worker", "pipeline"},
}

# Outside libraries that only some folders may include.
LIBRARIES = [
    ("libtorch", re.compile(r"(torch|ATen|c10)/"), {"models", "calibration"}),
    ("Boost.Asio/Beast", re.compile(r"boost/(asio|beast)"), {"transport", "client", "worker"}),
    ("OpenSSL", re.compile(r"openssl/"), {"base", "transport", "cli"}),
    ("CLI11", re.compile(r"CLI/"), {"cli"}),
]

MAX_LINES = 450
MAX_HEADER_LINES = 200
SKIPPED_FOLDERS = {".git", ".venv", ".cache", "build", "out", "__pycache__"}
CXX_SUFFIXES = {".h", ".cc", ".cu", ".cuh"}
REPEATED_NAMES = {"__init__.py", "__main__.py", "conftest.py"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
MAIN = re.compile(r"^\s*(int|auto)\s+main\s*\(")
USING_NAMESPACE = re.compile(r"\s*using namespace\s+(?!.*literals)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH_IN_TEXT = re.compile(r"(?<![\w/.~$<>{}-])(?:\./)?[\w.*-]+(?:/[\w.*-]+)+/?(?![\w/<{$])")
MARKS = re.compile(r"\b(TODO|FIXME|XXX)\b")


def list_files(root):
    """Paths relative to `root`: what git knows or would add, or every file where there is no git."""
    if (root / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=root, check=True, capture_output=True, text=True).stdout
        found = {pathlib.PurePosixPath(name) for name in listed.split("\0") if name}
    else:
        found = {pathlib.PurePosixPath(path.relative_to(root).as_posix()) for path in root.rglob("*")}
    return sorted(path for path in found
                  if not SKIPPED_FOLDERS.intersection(path.parts) and (root / path).is_file())


def read_lines(root, path):
    return (root / path).read_text(encoding="utf-8", errors="replace").split("\n")


def folder_of(path):
    """The folder of pinion/ that `path` lies in, or None."""
    return path.parts[1] if len(path.parts) > 2 and path.parts[0] == "pinion" else None


def check_includes(path, lines):
    folder = folder_of(path)
    if folder is None:
        return
    if folder not in FOLDERS:
        yield 1, f"pinion/{folder} is not in the table of folders (scripts/check_tree.py, ARCHITECTURE.md)"
        return
    for number, line in enumerate(lines, 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        quote, target = found.groups()
        parts = target.split("/")
        if quote == '"' and parts[0] != "pinion":
            yield number, f'"{target}": our headers are included by their full path, "pinion/..."'
        if parts[0] == "pinion" and len(parts) > 2 and parts[1] != folder and parts[1] not in FOLDERS[folder]:
            allowed = ", ".join(sorted(FOLDERS[folder])) or "nothing"
            yield number, f"pinion/{folder} may not include pinion/{parts[1]} (it may include {allowed})"
        for library, pattern, allowed in LIBRARIES:
            if pattern.match(target) and folder not in allowed:
                yield number, f"only {', '.join(sorted(allowed))} may include {library}, not pinion/{folder}"


def check_first_include(path, lines, all_files):
    header = path.with_suffix(".h")
    if path.suffix == ".h" or header not in all_files:
        return
    for number, line in enumerate(lines, 1):
        found = INCLUDE.match(line)
        if found:
            if found.group(2) != str(header):
                yield number, f'the first include must be "{header}"'
            return


def check_cxx(path, lines):
    if path.suffix in {".h", ".cuh"}:
        if not any(line.strip() == "#pragma once" for line in lines):
            yield 1, "a header needs #pragma once"
        if len(lines) - 1 > MAX_HEADER_LINES:
            yield 1, f"{len(lines) - 1} lines: a header has at most {MAX_HEADER_LINES}"
    if len(lines) - 1 > MAX_LINES:
        yield 1, f"{len(lines) - 1} lines: a file has at most {MAX_LINES}, so split it"
    is_test = path.stem.endswith("_test")
    may_have_main = path.parts[:2] == ("pinion", "cli") or path.parts[0] in {"tests", "bench"}
    for number, line in enumerate(lines, 1):
        if MAIN.match(line) and not may_have_main:
            yield number, "only pinion/cli has a main()"
        if not is_test and USING_NAMESPACE.match(line):
            yield number, "no `using namespace`, literals apart"
        if MARKS.search(line):
            yield number, "unfinished: do it, or open an issue"


def check_links(path, lines):
    """The CMake files of a folder may name only the libraries of its row."""
    folder = folder_of(path)
    if folder not in FOLDERS:
        return
    for number, line in enumerate(lines, 1):
        for name in re.findall(r"\bpinion_([a-z0-9]+)\b", line.split("#")[0]):
            if name in FOLDERS and name != folder and name not in FOLDERS[folder]:
                yield number, f"pinion/{folder} may not link pinion_{name}"


def check_unique_names(files):
    places = defaultdict(list)
    for path in files:
        if path.suffix in CXX_SUFFIXES | {".py"} and path.name not in REPEATED_NAMES:
            places[path.name].append(path)
    for paths in places.values():
        for path in paths[1:]:
            yield path, 1, f"there is another {path.name}: {paths[0]}"


def check_doc_paths(root, path, lines, top_names):
    """Every path that a document names must exist: links, and words that start with a folder of the tree."""
    here = (root / path).parent
    for number, line in enumerate(lines, 1):
        for target in LINK.findall(line):
            target = target.split("#")[0]
            if target and "://" not in target and not target.startswith("mailto:"):
                if not (here / target).exists():
                    yield number, f"links to {target}, which does not exist"
        for word in PATH_IN_TEXT.findall(LINK.sub("", line)):
            word = word.removeprefix("./").rstrip("/.:,;")
            if word.split("/")[0] not in top_names or "…" in word or "..." in word:
                continue
            if "*" in word:
                exists = any(root.glob(word))
            else:
                exists = (root / word).exists()
            if not exists:
                yield number, f"names {word}, which does not exist"


def check_architecture_table(lines):
    """ARCHITECTURE.md's rows `| pinion/x/ | ... | may link |` and FOLDERS must say the same."""
    for number, line in enumerate(lines, 1):
        row = re.match(r"^\|\s*`?pinion/(\w+)/?`?\s*\|.*\|([^|]*)\|\s*$", line)
        if not row or row.group(1) not in FOLDERS:
            continue
        folder, cell = row.groups()
        named = set(re.findall(r"[a-z]+", cell)) & set(FOLDERS)
        if named:
            named.add("base")  # a row that names folders need not repeat the one that all of them stand on
        if re.search(r"\ball\b", cell):
            named = set(FOLDERS) - {folder}
        if named != FOLDERS[folder]:
            yield number, (f"says that pinion/{folder} may link {sorted(named)}, "
                           f"scripts/check_tree.py says {sorted(FOLDERS[folder])}")


def check_tree(root):
    """All problems under `root` as lines of text."""
    files = list_files(root)
    all_files = set(files)
    top_names = {path.parts[0] for path in files if len(path.parts) > 1}
    problems = []

    def add(path, found):
        problems.extend(f"{path}:{number}: {text}" for number, text in found)

    for path in files:
        if path.suffix in CXX_SUFFIXES:
            lines = read_lines(root, path)
            add(path, check_includes(path, lines))
            add(path, check_first_include(path, lines, all_files))
            add(path, check_cxx(path, lines))
        elif path.name == "CMakeLists.txt" or path.suffix == ".cmake":
            add(path, check_links(path, read_lines(root, path)))
        elif path.suffix == ".md":
            lines = read_lines(root, path)
            add(path, check_doc_paths(root, path, lines, top_names))
            if path.name == "ARCHITECTURE.md":
                add(path, check_architecture_table(lines))
    problems.extend(f"{path}:{number}: {text}" for path, number, text in check_unique_names(files))
    return problems


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()
    problems = check_tree(root)
    print("\n".join(problems) if problems else "      the tree follows its rules")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
