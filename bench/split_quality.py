#!/usr/bin/env python3
"""How good a split picture is, and what it costs: prompts x codecs against the unsplit run, over two processes.

    bench/split_quality.py --program build/release/pinion/cli/pinion [--codec fidelity:20]... [--cut 3] [--device cpu]

Starts one worker, pairs with it, and runs `pinion generate --compare-local` for every prompt and codec. Prints one
row per prompt and the mean, with the bytes of hidden states (bases apart) and of the whole job; --json for programs.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROMPTS = [
    "a big red circle on the left and a small blue square on the right, on a light gray background",
    "a green triangle at the top and a yellow star at the bottom, on a white background",
    "a striped purple square in the center on a pale yellow background",
    "an orange ring at the top left and a cyan cross at the bottom right, on a dark blue background",
    "a small white diamond on a background that fades from red to black",
    "a dotted pink circle in the center on a green background",
    "a large checkered blue square on the left, on an orange background",
    "a black star at the bottom left, a red triangle at the top and a yellow circle on the right, on a gray background",
]


# Two processes share this machine's cores: libtorch's idle threads must sleep, not spin.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def start_worker(program: Path, model: Path, device: str, home: Path) -> tuple[subprocess.Popen, str]:
    """A running worker and its pairing line."""
    environment = os.environ | {"PINION_CONFIG_DIR": str(home / "worker"), "PINION_CACHE_DIR": str(home / "worker-cache")}
    ready = home / "ready"
    log = open(home / "worker.log", "w")
    command = [program, "worker", "--port", "0", "--device", device, "--models", model, "--ready-file", ready]
    worker = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    for _ in range(600):
        if ready.exists():
            return worker, json.loads(ready.read_text())["pairing_line"]
        if worker.poll() is not None:
            break
        time.sleep(0.1)
    worker.kill()
    raise SystemExit(f"the worker did not start: {(home / 'worker.log').read_text()}")


def measure(options: argparse.Namespace, environment: dict, address: str, prompt: str, codec: str, home: Path) -> dict:
    report = home / "report.json"
    command = [options.program, "generate", "--model", options.model, "--prompt", prompt, "--seed", str(options.seed),
               "--worker", address, "--cut", options.cut, "--codec", codec, "--device", options.device,
               "--compare-local", "--out", home / "picture.png", "--report", report]
    if codec.startswith("calibrated"):
        command += ["--calibration", options.calibration]
    for image in options.image or []:
        command += ["--image", image]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    job = json.loads(report.read_text())
    picture = job["comparison"]["pictures"][0]
    totals = job["totals"]
    reference_bytes = [stream["bytes"] for step in job["per_step"] for hop in step["hops"] for stream in hop["streams"]
                       if stream["name"] == "reference"]
    return {
        "prompt": prompt,
        "codec": codec,
        "psnr_db": math.inf if picture["psnr_db"] is None else picture["psnr_db"],
        "max_error": picture["max_error"],
        "identical": job["comparison"]["latents_identical"],
        "state_bytes": totals["state_bytes"],
        "bits_per_element": totals["state_bits_per_element"],
        "basis_bytes": totals["basis_bytes"],
        "reference_bytes": reference_bytes,
        "job_bytes": totals["bytes_up"] + totals["bytes_down"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=Path("models/tiny-flux2"))
    parser.add_argument("--codec", action="append", help="repeat for more; default raw, lossless and fidelity:20")
    parser.add_argument("--calibration", type=Path, help="file of `pinion calibrate`, for codecs calibrated:DB")
    parser.add_argument("--image", type=Path, action="append", help="reference picture of all jobs; repeat for more")
    parser.add_argument("--cut", default="3")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if any(codec.startswith("calibrated") for codec in options.codec or []) and options.calibration is None:
        parser.error("codec calibrated:DB needs --calibration")

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        environment = os.environ | {"PINION_CONFIG_DIR": str(home / "client"), "PINION_CACHE_DIR": str(home / "client-cache")}
        worker, line = start_worker(options.program, options.model, options.device, home)
        try:
            subprocess.run([options.program, "pair", line], env=environment, check=True, stdout=subprocess.DEVNULL)
            address = line.removeprefix("pinion://").split("#")[0]
            for codec in options.codec or ["raw", "lossless", "fidelity:20"]:
                for prompt in PROMPTS:
                    rows.append(measure(options, environment, address, prompt, codec, home))
                    if not options.json:
                        row = rows[-1]
                        print(f"{codec:<14} PSNR {row['psnr_db']:6.2f} dB  max error {row['max_error']:3}  "
                              f"states {row['state_bytes']:>9} B = {row['bits_per_element']:6.3f} bit/element  "
                              f"bases {row['basis_bytes']:>7} B  job {row['job_bytes']:>9} B  {prompt[:40]}", flush=True)
        finally:
            worker.terminate()
            worker.wait(timeout=10)
    if options.json:
        json.dump(rows, sys.stdout, indent=2)
    else:
        for codec in dict.fromkeys(row["codec"] for row in rows):
            of_codec = [row for row in rows if row["codec"] == codec]
            mean = {key: sum(row[key] for row in of_codec) / len(of_codec) for key in ("psnr_db", "state_bytes", "bits_per_element", "job_bytes")}
            worst = min(row["psnr_db"] for row in of_codec)
            print(f"{codec:<14} mean PSNR {mean['psnr_db']:.2f} dB, worst {worst:.2f} dB, mean {mean['state_bytes']:.0f} B of states, "
                  f"{mean['bits_per_element']:.3f} bit/element; {mean['job_bytes']:.0f} B of the whole job")
            # Only calibrated jobs code the rows of references apart.
            steps = list(zip(*(row["reference_bytes"] for row in of_codec)))
            if steps:
                print(f"{'':<14} of which references, step by step: {', '.join(f'{sum(step) / len(step):.0f}' for step in steps)} B")
    return 0


if __name__ == "__main__":
    sys.exit(main())
