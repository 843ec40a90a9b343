"""Every rule of scripts/check_tree.py on a small tree that breaks it, and on one that does not."""

import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))

import check_tree  # noqa: E402

GOOD_HEADER = "#pragma once\n"


def problems(files):
    """What the checker says about a tree of {path: text}."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        return check_tree.check_tree(root)


class CheckTree(unittest.TestCase):
    def expect(self, files, *wanted):
        self.assertEqual(problems(files), list(wanted))

    def test_good_tree(self):
        self.expect({
            "pinion/base/bytes.h": GOOD_HEADER + "#include <vector>\n",
            "pinion/codec/frame.h": GOOD_HEADER + '#include "pinion/base/bytes.h"\n',
            "pinion/codec/frame.cc": '#include "pinion/codec/frame.h"\n\n#include <cmath>\n',
            "pinion/codec/CMakeLists.txt": "pinion_library(codec SOURCES frame.cc LINKS pinion_base)\n",
            "pinion/models/block.cc": "#include <ATen/ATen.h>\n",
            "pinion/cli/main.cc": "int main() { return 0; }\n",
            "docs/format.md": "See [bytes](../pinion/base/bytes.h#top) and `pinion/codec/`.\n",
        })

    def test_folder_of_another_row(self):
        self.expect(
            {"pinion/codec/frame.cc": '#include <cmath>\n#include "pinion/transport/link.h"\n',
             "pinion/base/bytes.cc": '#include "pinion/codec/frame.h"\n'},
            "pinion/base/bytes.cc:1: pinion/base may not include pinion/codec (it may include nothing)",
            "pinion/codec/frame.cc:2: pinion/codec may not include pinion/transport (it may include base)")

    def test_unknown_folder(self):
        self.expect(
            {"pinion/extra/thing.cc": ""},
            "pinion/extra/thing.cc:1: pinion/extra is not in the table of folders "
            "(scripts/check_tree.py, ARCHITECTURE.md)")

    def test_include_without_full_path(self):
        self.expect(
            {"pinion/base/bytes.cc": '#include "result.h"\n'},
            'pinion/base/bytes.cc:1: "result.h": our headers are included by their full path, "pinion/..."')

    def test_torch_only_in_models(self):
        for include in ("<ATen/ATen.h>", "<torch/torch.h>", "<c10/core/InferenceMode.h>"):
            self.expect(
                {"pinion/worker/stage_host.cc": f"#include {include}\n"},
                "pinion/worker/stage_host.cc:1: only calibration, models may include libtorch, not pinion/worker")

    def test_sockets_only_where_they_belong(self):
        for include in ("<boost/asio.hpp>", "<boost/beast/core.hpp>"):
            self.expect(
                {"pinion/codec/frame.cc": f"#include {include}\n", "pinion/client/job.cc": f"#include {include}\n"},
                "pinion/codec/frame.cc:1: only client, transport, worker may include Boost.Asio/Beast, "
                "not pinion/codec")

    def test_link_of_another_row(self):
        self.expect(
            {"pinion/client/CMakeLists.txt": "# pinion_models is not for us\n"
             "pinion_library(client SOURCES a.cc\n  LINKS pinion_codec pinion_models)\n"},
            "pinion/client/CMakeLists.txt:3: pinion/client may not link pinion_models")

    def test_own_header_first(self):
        self.expect(
            {"pinion/base/bytes.h": GOOD_HEADER,
             "pinion/base/bytes.cc": '#include <vector>\n#include "pinion/base/bytes.h"\n'},
            'pinion/base/bytes.cc:1: the first include must be "pinion/base/bytes.h"')

    def test_pragma_once(self):
        self.expect({"pinion/base/bytes.h": "int x();\n"}, "pinion/base/bytes.h:1: a header needs #pragma once")

    def test_only_cli_has_main(self):
        self.expect(
            {"pinion/worker/daemon.cc": "\nint main(int, char**) {}\n", "tests/fuzz/try.cc": "int main() {}\n"},
            "pinion/worker/daemon.cc:2: only pinion/cli has a main()")

    def test_sizes(self):
        self.expect(
            {"pinion/base/long.cc": "\n" * 451, "pinion/base/longest_allowed.cc": "\n" * 450,
             "pinion/base/wide.h": GOOD_HEADER + "\n" * 200},
            "pinion/base/long.cc:1: 451 lines: a file has at most 450, so split it",
            "pinion/base/wide.h:1: 201 lines: a header has at most 200")

    def test_using_namespace_and_unfinished_marks(self):
        mark = "TO" + "DO"
        self.expect(
            {"pinion/base/a.cc": f"using namespace std;\n// {mark}: later\nusing namespace std::chrono_literals;\n",
             "pinion/base/a_test.cc": "using namespace pinion;\n"},
            "pinion/base/a.cc:1: no `using namespace`, literals apart",
            "pinion/base/a.cc:2: unfinished: do it, or open an issue")

    def test_unique_names(self):
        self.expect(
            {"pinion/base/link.cc": "", "pinion/codec/link.cc": "", "tools/a/__init__.py": "",
             "tools/b/__init__.py": ""},
            "pinion/codec/link.cc:1: there is another link.cc: pinion/base/link.cc")

    def test_docs_name_what_exists(self):
        self.expect(
            {"pinion/base/bytes.h": GOOD_HEADER,
             "README.md": "[gone](docs/gone.md) [site](https://example.org/pinion/x) `pinion/base/*.h`\n"
                          "`./pinion/base/old.h`, pinion/base/bytes.h, build/release/x, and/or, `pinion/<folder>/x`\n"
                          "    pinion/none/*.cc\n"},
            "README.md:1: links to docs/gone.md, which does not exist",
            "README.md:2: names pinion/base/old.h, which does not exist",
            "README.md:3: names pinion/none/*.cc, which does not exist")

    def test_architecture_table(self):
        self.expect(
            {"pinion/codec/CMakeLists.txt": "", "pinion/client/CMakeLists.txt": "", "pinion/cli/CMakeLists.txt": "",
             "ARCHITECTURE.md": "| folder | what | may link |\n|---|---|---|\n"
                                "| `pinion/codec/` | the codec; not models | base |\n"
                                "| `pinion/client/` | remote stages | codec, models |\n"
                                "| `pinion/cli/` | the program | all |\n"},
            "ARCHITECTURE.md:4: says that pinion/client may link ['base', 'codec', 'models'], "
            "scripts/check_tree.py says ['base', 'codec', 'transport']")


if __name__ == "__main__":
    unittest.main()
