#!/usr/bin/env python3
"""Writes tests/data/states: hidden states of models/tiny-flux2 in the middle of drawing, for codec benches.

diffusers' own Flux2KleinPipeline runs in bf16 on the CPU, four steps, and hooks copy what a split after
K of the six blocks (2 double, 4 single) would have to send at step N:
  cutK.image.tN   [h*w, 256] bf16     cutK.text.tN    [512, 256] bf16
  latents.tN      [h*w, 128] fp32     velocity.tN     [h*w, 128] fp32   (input and output of step N)
  latents.t4 is the result, sigmas [5] the schedule.

  python tools/capture_states.py                     # needs diffusers and transformers; a minute
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import diffusers
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent

README = """Hidden states of `models/tiny-flux2`, the test data of the state codec's benches.
Made by `python tools/capture_states.py` (diffusers' Flux2KleinPipeline, bf16, CPU); see there for the names, which
`pinion generate --record` uses too.
Each file's metadata has the prompt, the seed and the size.
"""


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    prompt: str
    seed: int
    width: int
    height: int
    cuts: tuple[int, ...]
    text: bool = True  # keep the text rows too


CASES = [
    Case(
        "dots_and_star",
        "A large red circle with white dots in the top left and a small solid blue star in the center, "
        "on a pale yellow background.",
        7, 256, 256, cuts=(1, 3, 5),
    ),
    Case(
        "three_on_speckles",
        "a checkered cyan and brown square on the left, a large pink ring in the bottom right and a black cross "
        "at the top, on a speckled pale green background",
        19, 320, 192, cuts=(3,), text=False,
    ),
]  # fmt: skip


@torch.no_grad()
def capture(pipe: diffusers.Flux2KleinPipeline, case: Case) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    step = -1
    text_rows = 512

    def keep(cut: int, image: Tensor, text: Tensor) -> None:
        tensors[f"cut{cut}.image.t{step}"] = image[0].clone()
        if case.text:
            tensors[f"cut{cut}.text.t{step}"] = text[0].clone()

    def before(_module: nn.Module, _args, kwargs: dict) -> None:
        nonlocal step
        step += 1
        tensors[f"latents.t{step}"] = kwargs["hidden_states"][0].float()

    def after(_module: nn.Module, _args, out) -> None:
        tensors[f"velocity.t{step}"] = out[0][0].float()

    hooks = [
        pipe.transformer.register_forward_pre_hook(before, with_kwargs=True),
        pipe.transformer.register_forward_hook(after),
    ]
    doubles, singles = pipe.transformer.transformer_blocks, pipe.transformer.single_transformer_blocks
    for cut in case.cuts:
        if cut <= len(doubles):  # a double block returns (text, image)
            hooks.append(doubles[cut - 1].register_forward_hook(lambda m, a, out, cut=cut: keep(cut, out[1], out[0])))
        else:  # a single block returns the joint rows, text first
            hooks.append(
                singles[cut - 1 - len(doubles)].register_forward_hook(
                    lambda m, a, out, cut=cut: keep(cut, out[:, text_rows:], out[:, :text_rows])
                )
            )
    last: list[Tensor] = []

    def keep_last(_pipe, _step, _time, values: dict) -> dict:
        last[:] = [values["latents"]]
        return {}

    pipe(
        prompt=case.prompt,
        width=case.width,
        height=case.height,
        num_inference_steps=4,
        guidance_scale=1.0,
        generator=torch.Generator("cpu").manual_seed(case.seed),
        output_type="latent",
        callback_on_step_end=keep_last,
    )
    for hook in hooks:
        hook.remove()
    tensors["latents.t4"] = last[0][0].float()
    tensors["sigmas"] = pipe.scheduler.sigmas.float()
    return tensors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "tiny-flux2")
    parser.add_argument("--out", type=Path, default=ROOT / "tests" / "data" / "states")
    args = parser.parse_args()
    pipe = diffusers.Flux2KleinPipeline.from_pretrained(args.model, torch_dtype=torch.bfloat16)
    pipe.set_progress_bar_config(disable=True)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "README.md").write_text(README)
    for case in CASES:
        tensors = capture(pipe, case)
        metadata = {
            "prompt": case.prompt,
            "seed": str(case.seed),
            "width": str(case.width),
            "height": str(case.height),
            "made_by": f"tools/capture_states.py, diffusers {diffusers.__version__}, torch {torch.__version__}",
        }
        path = args.out / f"{case.name}.safetensors"
        save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata)
        path.chmod(0o644)
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, {len(tensors)} tensors", flush=True)


if __name__ == "__main__":
    main()
