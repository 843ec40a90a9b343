#!/usr/bin/env python3
"""Ends ./dev demo: the bytes of the two split runs side by side, and one contact sheet that says which is which."""

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


def main() -> int:
    folder = Path(sys.argv[1])
    raw, coded = load(folder, "split-raw"), load(folder, "split-fidelity")
    raw_bytes, coded_bytes = raw["totals"]["state_bytes"], coded["totals"]["state_bytes"]
    sixteen_bit = 2 * state_elements(raw)
    print(f"states over {raw['steps']} steps:")
    print(f"  raw ({raw['dtype']})        {raw_bytes:>9} bytes   {quality(raw)}")
    print(f"  raw as 16-bit     {sixteen_bit:>9} bytes   (what a 16-bit model would send)")
    print(f"  {coded['codec']:<17} {coded_bytes:>9} bytes   {quality(coded)}")
    if coded["totals"]["basis_bytes"]:
        print(f"  and once          {coded['totals']['basis_bytes']:>9} bytes   for the bases, cached by hash")
    print(f"ratio: {raw_bytes / coded_bytes:.1f} x fewer bytes than raw, {sixteen_bit / coded_bytes:.1f} x fewer than raw 16-bit")

    sheet = folder / "contact-sheet.png"
    captions = {
        "local": "local: all blocks here",
        "split-raw": f"split, raw|{raw_bytes / 1000:.0f} kB of states|{quality(raw)}",
        "split-fidelity": f"split, {coded['codec']} dB|{coded_bytes / 1000:.0f} kB of states|{quality(coded)}",
    }
    items = [text for name, caption in captions.items() for text in (str(folder / f"{name}.png"), caption)]
    script = Path(__file__).with_name("contact_sheet.py")
    subprocess.run([sys.executable, script, "--out", sheet, *items], check=True)
    print(f"pictures: {sheet}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
