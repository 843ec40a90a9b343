#!/usr/bin/env python3
"""Ends ./dev demo: the bytes of the split runs side by side, and one contact sheet that says which is which."""

import json
import subprocess
import sys
from pathlib import Path


def load(folder: Path, name: str) -> dict:
    return json.loads((folder / f"{name}.json").read_text())


def quality(report: dict) -> str:
    comparison = report["comparison"]
    if comparison["latents_identical"]:
        return "identical, bit for bit"
    return f"PSNR {comparison['pictures'][0]['psnr_db']:.1f} dB"


def state_elements(report: dict) -> int:
    return sum(
        stream["elements"]
        for step in report["per_step"]
        for hop in step["hops"]
        for stream in hop["streams"]
        if stream["name"] not in ("latents", "velocity")
    )


def wire_bytes(report: dict) -> int:
    return report["totals"]["bytes_up"] + report["totals"]["bytes_down"]


def main() -> int:
    folder = Path(sys.argv[1])
    runs = {name: load(folder, f"split-{name}") for name in ("raw", "fidelity", "calibrated")}
    raw = runs["raw"]
    print(f"{raw['steps']} steps, bytes on the wire:")
    print(f"  {'codec':<16} {'states':>9} {'all':>9}   picture against the unsplit one")
    for report in runs.values():
        print(f"  {report['codec']:<16} {report['totals']['state_bytes']:>9} {wire_bytes(report):>9}   {quality(report)}")
        if report["totals"]["basis_bytes"]:
            print(f"  {'and once':<16} {report['totals']['basis_bytes']:>9}             for the bases, kept by both sides")
    sixteen_bit = 2 * state_elements(raw)
    ratios = [f"{sixteen_bit / report['totals']['state_bytes']:.0f} x with {report['codec']}"
              for name, report in runs.items() if name != "raw"]
    print(f"fewer bytes of states than 16-bit ones ({sixteen_bit}) would take: {', '.join(ratios)}")

    sheet = folder / "contact-sheet.png"
    captions = {"local": "local: all blocks here"}
    for name, report in runs.items():
        captions[f"split-{name}"] = (f"split, {report['codec']}|{wire_bytes(report) / 1000:.0f} kB on the wire|"
                                     f"{quality(report)}")
    items = [text for name, caption in captions.items() for text in (str(folder / f"{name}.png"), caption)]
    script = Path(__file__).with_name("contact_sheet.py")
    subprocess.run([sys.executable, script, "--out", sheet, *items], check=True)
    print(f"pictures: {sheet}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
