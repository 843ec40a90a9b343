#!/usr/bin/env python3
"""Trains the tiny FLUX.2-architecture model that ships in models/tiny-flux2, from nothing, in minutes.

Stages, in order:
  vae       the autoencoder, on scenes drawn while it trains
  flow      rectified flow of the transformer, together with the Qwen3 text encoder
  distil    four steps in place of the teacher's many, guidance folded in
  evaluate  held-out captions: agreement figures and contact sheets
  export    the diffusers folder (needs diffusers and transformers; the other stages need torch alone)

`--size mini` trains a transformer of 1024 channels on richer scenes, for benchmarks. It takes the rest of the tiny
model as it is, hence has no stage `vae`, and export needs torch alone. Its stages have time limits by default.

Each stage reads what the ones before it left in --out, so a run can stop anywhere and go on later:
  python tools/train_tiny.py --out build/tiny                            # everything
  python tools/train_tiny.py --out build/tiny --stages flow,distil       # again, on the same autoencoder
  python tools/train_tiny.py --out build/tiny --stages export --folder models/tiny-flux2
  python tools/train_tiny.py --out build/mini --size mini --export-teacher   # on a GPU: about seven minutes
  python tools/train_tiny.py --out /tmp/t --smoke                        # a minute on a CPU, to see that it runs
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import tokenizers
import torch
from safetensors.torch import load_file, save_file
from train_tiny import based, distil_stage, evaluate, flow_stage, nets, scenes, text, vae_stage
from train_tiny.size import SIZES, TINY, smoke

STAGES = list(TINY.stages)
TINY_MODEL = Path(__file__).resolve().parent.parent / "models" / "tiny-flux2"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="working folder: weights, log, curves, sheets")
    parser.add_argument("--size", choices=list(SIZES), default="tiny", help="which model")
    parser.add_argument("--base", type=Path, default=TINY_MODEL, help="finished model that mini takes the rest from")
    parser.add_argument("--stages", help=f"comma-separated, of {', '.join(STAGES)} (default all)")
    parser.add_argument("--folder", type=Path, help="where export writes the diffusers folder (default OUT/model)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--export-teacher", action="store_true", help="export also the model before distil, to FOLDER-teacher"
    )
    parser.add_argument("--steps", default="", help="steps by stage, as vae=2400,flow=6800,distil=900 (tiny's)")
    parser.add_argument(
        "--seconds", default="", help="time limits by stage, as flow=225,paths=40,distil=70 (mini's defaults; paths "
        "are the teacher's for distil): the learning rate then follows time"
    )
    parser.add_argument("--batch", type=int, help="scenes per step of flow; distil takes half")
    parser.add_argument("--scenes", type=int, help="encoded scenes to train on")
    parser.add_argument("--lr", default="", help="peak rates by stage, as vae=0.002,flow=0.0015,distil=0.0005")
    parser.add_argument("--guidance", type=float, default=2.0, help="guidance that distil folds in")
    parser.add_argument("--captions", type=int, help="held-out captions that evaluate draws")
    parser.add_argument("--samples", type=int, default=16, help="pictures on the sheet that export draws")
    parser.add_argument("--resume", action="store_true", help="flow goes on from the weights in --out")
    parser.add_argument("--bf16", action="store_true", help="evaluate with the weights rounded as export stores them")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True, help="on CUDA")
    parser.add_argument("--smoke", action="store_true", help="a handful of steps of everything on small pictures")
    return parser.parse_args()


def by_stage(given: str, defaults: dict[str, float]) -> dict[str, float]:
    return defaults | {k: float(v) for k, v in (item.split("=") for item in given.split(",") if item)}


class Run:
    """What the stages share: arguments, tokenizer, weights on disk and the log."""

    def __init__(self, args: argparse.Namespace):
        self.args = args
        args.out.mkdir(parents=True, exist_ok=True)
        self.size = smoke(SIZES[args.size]) if args.smoke else SIZES[args.size]
        self.config = self.size.config
        self.steps = by_stage(args.steps, self.size.steps)
        self.seconds = by_stage(args.seconds, self.size.seconds)
        self.rates = by_stage(args.lr, self.size.rates)
        args.batch, args.scenes = args.batch or self.size.batch, args.scenes or self.size.scenes
        args.captions = args.captions or self.size.captions
        self.log_path = args.out / "log.json"
        self.log: list[dict] = json.loads(self.log_path.read_text()) if self.log_path.exists() else []
        path = args.out / "tokenizer.json"
        if self.size.based:
            based.read_tokenizer(args.base).save(str(path))
        elif not path.exists():
            text.train_tokenizer(args.seed, self.config.vocab, 500 if args.smoke else 20000).save(str(path))
        self.tok = tokenizers.Tokenizer.from_file(str(path))
        torch.manual_seed(args.seed)
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
        self.vae = nets.Vae(self.config).to(args.device)
        pad = self.tok.token_to_id(text.PAD)
        self.model = flow_stage.TinyModel(self.config, pad, self.size.based).to(args.device)
        self._banks: tuple[int, list[flow_stage.Bank]] = (0, [])
        if self.size.based:
            based.read_weights(args.base, self.vae, self.model.text)
            self.save("vae")

    def load(self, *names: str) -> None:
        for name in names:
            getattr(self, name).load_state_dict(load_file(self.args.out / f"{name}.safetensors"))

    def save(self, name: str, copy: str | None = None) -> None:
        state = {k: v.contiguous() for k, v in getattr(self, name).state_dict().items()}
        save_file(state, self.args.out / f"{copy or name}.safetensors")
        self.log_path.write_text(json.dumps(self.log))

    def banks(self, main: int) -> list[flow_stage.Bank]:
        """Encoded scenes, `main` of the first size; kept until another number is asked for."""
        if self._banks[0] == main:
            return self._banks[1]
        start = time.monotonic()
        sizes = self.size.pictures
        counts = [main] + [max(8, main // 8)] * (len(sizes) - 1)
        banks = [
            flow_stage.make_bank(self.size, self.vae, self.tok, n, h, w, self.args.seed * 100 + i, self.args.device)
            for i, (n, (h, w)) in enumerate(zip(counts, sizes))
        ]
        print(f"encoded {sum(counts)} scenes in {time.monotonic() - start:.0f} s", flush=True)
        self._banks = (main, banks)
        return banks


def stage_vae(run: Run) -> None:
    args = run.args
    vae_stage.train_vae(
        run.vae,
        int(run.steps["vae"]),
        args.device,
        args.seed,
        run.rates["vae"],
        run.log,
        run.seconds.get("vae"),
        args.smoke,
    )
    size = 64 if args.smoke else 256
    psnr = vae_stage.reconstruction_psnr(run.vae, args.device, 8 if args.smoke else 64, size)
    print(f"vae      held-out reconstruction {psnr:.2f} dB")
    run.log.append({"stage": "vae_result", "psnr": psnr})
    run.save("vae")


def stage_flow(run: Run) -> None:
    args = run.args
    run.load("vae")
    if args.resume:
        run.load("model")
    if args.compile and args.device.startswith("cuda"):
        run.model.compile_blocks()
    try:
        flow_stage.train_flow(
            run.size, run.model, run.tok, run.banks(args.scenes), int(run.steps["flow"]), args.batch, args.device,
            run.rates["flow"], run.log, run.seconds.get("flow"),
        )  # fmt: skip
    finally:  # an interrupted run still leaves something to go on from
        run.save("model")
        run.save("model", "teacher")


def stage_distil(run: Run) -> None:
    args = run.args
    run.load("vae")
    run.model.load_state_dict(load_file(args.out / "teacher.safetensors"))
    if args.compile and args.device.startswith("cuda"):
        run.model.compile_blocks()
    size, short = run.size, run.size.full["distil"] < 1
    banks = run.banks(args.scenes if short else max(8, args.scenes // 4))
    start = time.monotonic()
    count = max(2, args.scenes // 4)
    paths = []
    for i, bank in enumerate(banks):
        inner = 1 if args.smoke else 5
        wanted = count if i == 0 else max(2, count // 8)
        batch = min(size.path_batch[min(i, 1)], wanted)
        limit = run.seconds.get("paths")
        if limit is not None:  # a quarter of it for all sizes but the first
            limit *= 0.75 if i == 0 else 0.25 / (len(banks) - 1)
        paths.append(
            distil_stage.make_paths(
                run.model, run.tok, bank, wanted, batch, args.device, args.guidance, inner,
                run.model.short if short else flow_stage.FULL, limit, fast=short and i == 0,
            )
        )  # fmt: skip
    made = sum(len(p.states) for p in paths)
    print(f"{made} teacher trajectories in {time.monotonic() - start:.0f} s", flush=True)
    distil_stage.distil(
        size, run.model, paths, int(run.steps["distil"]), max(2, args.batch // 2), args.device, run.rates["distil"],
        run.log, run.seconds.get("distil"),
    )  # fmt: skip
    run.save("model")


def stage_evaluate(run: Run) -> None:
    args = run.args
    run.load("vae", "model")
    if args.bf16:
        for p in [*run.vae.parameters(), *run.model.parameters()]:
            p.data.copy_(p.data.bfloat16())
    count, size = (2, 64) if args.smoke else (args.captions, 256)
    drawn, prompts = evaluate.held_out(count, evaluate.SEED, run.size.rich)
    settings: list[tuple[str, dict]] = [("four-step", {}), ("four-step, left layout", {"layout": "left"})]
    if (args.out / "teacher.safetensors").exists():
        settings += [("teacher", {"inner": 5, "teacher": True, "guidance": args.guidance})]
        settings += [("teacher, no guidance", {"inner": 5, "teacher": True, "guidance": 1.0})]
        settings += [("teacher, four steps", {"teacher": True, "guidance": 1.0})]
    for name, extra in settings:
        if extra.pop("teacher", False):
            run.model.load_state_dict(load_file(args.out / "teacher.safetensors"))
        images = evaluate.pictures(run.model, run.vae, run.tok, prompts, size, size, args.device, 0, **extra)
        result = evaluate.agreement(images, drawn)
        print(f"{name}: {result.text()}", flush=True)
        run.log.append({"stage": "evaluate", "name": name, **vars(result)})
        evaluate.sheet(images[:48], 8, str(args.out / f"sheet_{name.replace(', ', '_').replace(' ', '_')}.png"), 0.625)
    run.log_path.write_text(json.dumps(run.log))


def stage_export(run: Run) -> None:
    run.load("vae", "model")
    folder = run.args.folder or run.args.out / "model"
    write_folder(run, folder, distilled=True)
    if run.args.export_teacher:
        run.model.load_state_dict(load_file(run.args.out / "teacher.safetensors"))
        write_folder(run, folder.with_name(folder.name + "-teacher"), distilled=False)


def write_folder(run: Run, folder: Path, distilled: bool) -> None:
    if run.size.based:
        prompts = scenes.captions(scenes.sample(64, seed=123, rich=run.size.rich), 5)
        based.write_folder(run.args.base, run.config, run.model.flux, distilled, prompts, folder)
        return
    from train_tiny import export

    export.write_folder(run.config, run.vae, run.model, run.tok, folder, distilled)
    export.plot_log(run.log, folder / "loss.png")
    if run.args.samples:
        export.draw_samples(folder, evaluate.held_out(256, evaluate.SEED)[1][: run.args.samples])


def main() -> None:
    run = Run(arguments())
    stages = run.size.stages
    wanted = run.args.stages.split(",") if run.args.stages else stages
    unknown = set(wanted) - set(stages)
    if unknown:
        raise SystemExit(f"unknown stages: {', '.join(sorted(unknown))}; {run.args.size} has {', '.join(stages)}")
    for stage in stages:
        if stage in wanted:
            start = time.monotonic()
            globals()[f"stage_{stage}"](run)
            print(f"{stage} took {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
