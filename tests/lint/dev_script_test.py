"""./dev teaches itself, and wrong usage is told from failure by the exit code. Nothing is built here."""

import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def dev(*arguments):
    return subprocess.run([ROOT / "dev", *arguments], capture_output=True, text=True, timeout=60)


class DevScript(unittest.TestCase):
    def test_help_names_every_command(self):
        for arguments in ([], ["--help"], ["build", "--help"]):
            result = dev(*arguments)
            self.assertEqual(result.returncode, 0)
            for command in ("demo", "test", "build", "lint", "fuzz", "bench", "setup"):
                self.assertRegex(result.stdout, rf"(?m)^  {command}\b")

    def test_wrong_usage(self):
        for arguments, text in (
            (["fly"], "there is no command 'fly'"),
            (["build", "fastest"], "there is no preset 'fastest'"),
            (["lint", "--harder"], "./dev lint has no option '--harder'"),
            (["test", "--slow"], "./dev test has no option '--slow'"),
            (["build", "--python"], "--python needs a path"),
            (["build", "--jobs", "many"], "--jobs needs a number"),
        ):
            result = dev(*arguments)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertIn(text, result.stderr)
            self.assertIn("--help", result.stderr)

    def test_python_without_torch(self):
        result = dev("setup", "--no-packages", "--python", "/nonexistent/python")
        self.assertEqual(result.returncode, 1)
        self.assertIn("--python: there is no program /nonexistent/python", result.stderr)

    def test_output_is_plain_where_nobody_looks(self):
        self.assertNotIn("\x1b", dev("setup", "--no-packages", "--python", "/nonexistent/python").stdout)

    def test_counts_what_ctest_says(self):
        for tests, passed, failed in (
            ({"good": "/bin/true", "fine": "/bin/true"}, 2, 0),
            ({"good": "/bin/true", "bad": "/bin/false"}, 1, 1),
            ({"good": "/bin/true", "unbuilt": "/nonexistent/program"}, 1, 1),
            ({}, 0, 0),
        ):
            with tempfile.TemporaryDirectory() as folder:
                build = pathlib.Path(folder) / "build" / "toy"
                build.mkdir(parents=True)
                lines = [f'add_test({name} "{program}")\n' for name, program in tests.items()]
                (build / "CTestTestfile.cmake").write_text("".join(lines))
                script = (
                    f"source {ROOT}/scripts/stages.sh; source {ROOT}/scripts/cmd_test.sh;"
                    "parallel_jobs() { echo 1; }; run_ctest toy > /dev/null; echo $passed $failed"
                )
                result = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder,
                                        capture_output=True, text=True, timeout=60)
                self.assertEqual(result.stdout, f"{passed} {failed}\n", result.stderr)


if __name__ == "__main__":
    unittest.main()
