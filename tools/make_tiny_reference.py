#!/usr/bin/env python3
"""Writes tests/fixtures/tiny: what diffusers' own Flux2KleinPipeline computes, in fp32 on the CPU, from
models/tiny-flux2. Engines are compared with these numbers.

One safetensors file per case; its metadata holds prompt, seed, size, layout and library versions:
  square    256x256: token ids, mask, prompt_embeds, noise, the velocity of each step
  wide      320x192
  small     192x192, with the noise in both forms
  left      the square case again with ComfyUI's text layout: the prompt encoded without padding
            (`prompt_rows`), then zeros on the left up to 512 rows; its noise is that of square

Tensors: input_ids, attention_mask [1,512]; prompt_embeds [1,512,192]; noise [1,128,h,w] as drawn by
torch.Generator("cpu").manual_seed(seed), noise_packed [1,h*w,128]; sigmas [5]; velocity.tN [1,h*w,128];
final [1,h*w,128], normalised latents after the last step; image [H,W,3] uint8.

  python tools/make_tiny_reference.py                # needs diffusers and transformers; a minute
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
TAPS = (9, 18, 27)
TEXT_ROWS = 512


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    prompt: str
    seed: int
    width: int
    height: int
    layout: str = "right"
    keep_embeds: bool = False
    keep_noise: tuple[str, ...] = ("noise",)  # and "noise_packed", which is only its transpose
    velocities: tuple[int, ...] = (0, 1, 2, 3)


SQUARE = (
    "A large red circle with white dots in the top left and a small solid blue star in the center, "
    "on a pale yellow background."
)
CASES = [
    Case("square", SQUARE, 7, 256, 256, keep_embeds=True),
    Case(
        "wide",
        "a huge checkered orange and black diamond on the right, on a vertical gradient from pale blue to white",
        11,
        320,
        192,
        velocities=(0, 3),
    ),
    Case(
        "small",
        "Solid green cross center, speckled dark purple background.",
        23,
        192,
        192,
        keep_noise=("noise", "noise_packed"),
        velocities=(0, 3),
    ),
    Case("left", SQUARE, 7, 256, 256, layout="left", keep_noise=(), velocities=(0,)),
]


def tokenize(pipe: diffusers.Flux2KleinPipeline, prompt: str, pad: bool) -> dict[str, Tensor]:
    """The pipeline's own chat format; `pad` to 512 as it does."""
    messages = [{"role": "user", "content": prompt}]
    text = pipe.tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    extra = {"padding": "max_length", "truncation": True, "max_length": TEXT_ROWS} if pad else {}
    return pipe.tokenizer(text, return_tensors="pt", **extra)


def encode_left(pipe: diffusers.Flux2KleinPipeline, prompt: str) -> tuple[Tensor, Tensor]:
    """ComfyUI's layout: (rows of the prompt alone [n,3W], the same right-aligned in 512 [1,512,3W])."""
    hidden = pipe.text_encoder(**tokenize(pipe, prompt, pad=False), output_hidden_states=True, use_cache=False)
    rows = torch.cat([hidden.hidden_states[k] for k in TAPS], dim=-1)[0]
    return rows, torch.nn.functional.pad(rows, (0, 0, TEXT_ROWS - len(rows), 0))[None]


@torch.no_grad()
def run(pipe: diffusers.Flux2KleinPipeline, case: Case) -> tuple[dict[str, Tensor], dict[str, str]]:
    tensors: dict[str, Tensor] = {}
    if case.layout == "left":
        tensors["prompt_rows"], embeds = encode_left(pipe, case.prompt)
    else:
        tokens = tokenize(pipe, case.prompt, pad=True)
        tensors |= {"input_ids": tokens["input_ids"].int(), "attention_mask": tokens["attention_mask"].int()}
        embeds, _ = pipe.encode_prompt(case.prompt, device=pipe.device)
        if case.keep_embeds:
            tensors["prompt_embeds"] = embeds
    shape = (1, 128, case.height // 16, case.width // 16)
    noise = torch.randn(shape, generator=torch.Generator("cpu").manual_seed(case.seed))
    both = {"noise": noise, "noise_packed": pipe._pack_latents(noise)}
    tensors |= {name: both[name] for name in case.keep_noise}
    velocities: list[Tensor] = []
    hook = pipe.transformer.register_forward_hook(lambda module, args, out: velocities.append(out[0].clone()))
    final: list[Tensor] = []

    def keep_last(_pipe, _step, _time, values: dict) -> dict:
        final[:] = [values["latents"].clone()]
        return {}

    picture = pipe(
        prompt_embeds=embeds,
        width=case.width,
        height=case.height,
        num_inference_steps=4,
        guidance_scale=1.0,
        generator=torch.Generator("cpu").manual_seed(case.seed),
        output_type="np",
        callback_on_step_end=keep_last,
    ).images[0]
    hook.remove()
    tensors["sigmas"] = pipe.scheduler.sigmas.float()
    tensors |= {f"velocity.t{i}": velocities[i] for i in case.velocities}
    tensors["final"] = final[0]
    tensors["image"] = torch.from_numpy((picture * 255).round().astype(np.uint8))
    metadata = {
        "prompt": case.prompt,
        "seed": str(case.seed),
        "width": str(case.width),
        "height": str(case.height),
        "steps": "4",
        "guidance": "1.0",
        "layout": case.layout,
        "dtype": "float32",
        "made_by": f"tools/make_tiny_reference.py, diffusers {diffusers.__version__}, "
        f"transformers {transformers.__version__}, torch {torch.__version__}",
    }
    return tensors, metadata


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "tiny-flux2")
    parser.add_argument("--out", type=Path, default=ROOT / "tests" / "fixtures" / "tiny")
    args = parser.parse_args()
    pipe = diffusers.Flux2KleinPipeline.from_pretrained(args.model, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    args.out.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        tensors, metadata = run(pipe, case)
        path = args.out / f"{case.name}.safetensors"
        save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata)
        path.chmod(0o644)
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, {', '.join(tensors)}", flush=True)


if __name__ == "__main__":
    main()
