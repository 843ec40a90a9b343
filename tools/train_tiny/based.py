"""Models that share all but the transformer with a finished one: reading its folder and writing one like it.

Needs neither diffusers nor transformers: what is shared is copied, and the transformer's tensors have the names of the
real class already (`nets.py`, compared with the library whenever the tiny model is exported)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import tokenizers
import torch
from safetensors.torch import load_file, save_file

from .nets import Flux2, Qwen3, TinyConfig, Vae

SHARED = ("scheduler", "text_encoder", "tokenizer", "vae")
WEIGHTS = "diffusion_pytorch_model.safetensors"


def read_tokenizer(folder: Path) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))


@torch.no_grad()
def read_weights(folder: Path, vae: Vae, encoder: Qwen3) -> None:
    vae.load_state_dict(load_file(folder / "vae" / WEIGHTS))
    state = load_file(folder / "text_encoder" / "model.safetensors")
    encoder.load_state_dict({k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")})


def write_folder(
    base: Path, config: TinyConfig, flux: Flux2, distilled: bool, prompts: list[str], folder: Path
) -> None:  # fmt: skip
    """The transformer in bf16 beside copies of everything else; `prompts` for calibration, one a line. What is not
    `distilled` wants more steps and takes guidance."""
    for name in SHARED:
        shutil.copytree(base / name, folder / name, dirs_exist_ok=True)
    index = json.loads((base / "model_index.json").read_text()) | {"is_distilled": distilled}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    work = folder / "transformer"
    work.mkdir(exist_ok=True)
    values = json.loads((base / "transformer" / "config.json").read_text()) | {
        "num_attention_heads": config.hidden // 128,
        "num_layers": config.double_blocks,
        "num_single_layers": config.single_blocks,
    }
    (work / "config.json").write_text(json.dumps(values, indent=2) + "\n")
    state = {k: v.bfloat16().contiguous().cpu() for k, v in flux.state_dict().items()}
    save_file(state, work / WEIGHTS, metadata={"format": "pt"})
    (folder / "prompts.txt").write_text("\n".join(prompts) + "\n")
