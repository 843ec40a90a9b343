#!/usr/bin/env python3
"""Picture PSNR against bytes, from the lines that closed_loop --json writes.

    bench/plot_closed_loop.py runs.jsonl [more.jsonl ...] --out docs/pictures/closed_loop.png [--amortise 10]

One panel for each scope (image rows alone, all that is sent), number of steps and cut; one line for each coder, its points the
means over the prompts. Bytes are those of a job. --amortise N adds bases and assets, spread over N jobs.
"""

import argparse
import collections
import json
import sys

LABELS = {
    "planes": "planes + x265",
    "uniform-zstd": "per channel + zstd",
    "pca-deflate": "PCA + DEFLATE",
    "fidelity": "Pinion, uncalibrated",
    "calibrated": "Pinion, calibrated",
}
SCOPES = {"image": "image rows alone", "whole": "whole job, both ways"}
TEXTLESS = "whole job without text rows"


def read_lines(paths):
    lines = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            lines += [json.loads(line) for line in file if line.strip()]
    if not lines:
        sys.exit("error: the files hold no results: run closed_loop with --json first")
    return lines


def job_bytes(line, with_text, amortise):
    """Bytes of one job, and its share of what is sent once."""
    total = line["image_bytes"] + line["return_bytes"] + line["latents_bytes"]
    if with_text:
        total += line["text_bytes"]
    if amortise:
        total += (line["basis_bytes"] + line["asset_bytes"]) / amortise
    return total


def means(lines, with_text, amortise):
    """{coder: [(bytes, PSNR), ...] by rising bytes}, means over the prompts."""
    points = collections.defaultdict(list)
    for line in lines:
        points[line["coder"], line["setting"]].append((job_bytes(line, with_text, amortise), line["psnr_db"]))
    curves = collections.defaultdict(list)
    for (coder, _), values in points.items():
        curves[coder].append(tuple(sum(column) / len(values) for column in zip(*values)))
    return {coder: sorted(curve) for coder, curve in curves.items()}


def panels(lines):
    """[(title, lines, with text rows)] by rising steps and cuts"""
    found = []
    for key in sorted({(line["steps"], line["cut"]) for line in lines}):
        for scope, title in SCOPES.items():
            chosen = [line for line in lines if (line["steps"], line["cut"], line["scope"]) == (*key, scope)]
            place = f"cut {key[1]}, {key[0]} steps: "
            if chosen:
                found.append((place + title, chosen, True))
                if scope == "whole":
                    found.append((place + TEXTLESS, chosen, False))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", help="files of closed_loop --json")
    parser.add_argument("--out", required=True, help="PNG to write")
    parser.add_argument("--title", help="what was measured (default: the models' names)")
    parser.add_argument("--amortise", type=int, metavar="JOBS", help="add bases and assets, spread over so many jobs")
    options = parser.parse_args()
    try:
        import matplotlib
    except ImportError:
        sys.exit("error: this needs matplotlib: python3 -m venv plots && plots/bin/pip install matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    lines = [line for line in read_lines(options.results) if line["psnr_db"] < 100]  # without exact coders
    found = panels(lines)
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(5 * columns, 3.8 * rows), squeeze=False)
    colours = {coder: f"C{i}" for i, coder in enumerate(dict.fromkeys(line["coder"] for line in lines))}
    for place in axes.flat[len(found):]:
        place.axis("off")
    for (title, chosen, with_text), place in zip(found, axes.flat):
        for coder, curve in means(chosen, with_text, options.amortise).items():
            place.plot(*zip(*curve), marker="o", markersize=4, color=colours[coder], label=LABELS.get(coder, coder))
        place.set_xscale("log")
        place.xaxis.set_minor_formatter(ticker.NullFormatter())
        place.set_title(title, fontsize=10)
        place.set_xlabel("bytes of a job")
        place.set_ylabel("PSNR to the uncoded run, dB")
        place.grid(alpha=0.3, which="both")
    handles = {label: handle for place in axes.flat for handle, label in zip(*place.get_legend_handles_labels())}
    figure.legend(handles.values(), handles.keys(), loc="lower center", ncol=4, fontsize=9)
    prompts = len({(line["model"], line["prompt"]) for line in lines})
    figure.suptitle(f"{options.title or ', '.join(sorted({line['model'] for line in lines}))}: {prompts} prompts")
    legend_share = 0.75 / (3.8 * rows)  # of the figure's height
    figure.tight_layout(rect=(0, legend_share, 1, 0.99))
    figure.savefig(options.out, dpi=80)


if __name__ == "__main__":
    main()
