#!/usr/bin/env python3
"""Makes a FLUX.2 folder of any shape with random weights: to measure time and memory, not to draw.

    python tools/make_random_model.py --shape klein-9b --device cuda --out build/random-klein-9b
    pinion calibrate --model build/random-klein-9b --cut 16 --device cuda:0 --out build/cut16.pnf

Transformer and VAE have the real shape, all weights bf16, with gains that keep activations near 1. Tokenizer and
scheduler are those of models/tiny-flux2. The text encoder gives embeddings of the real width but is narrow inside, with
1/8 of the weights of the real one. A 9B takes 20 GB of disk and half a minute. Needs torch; models of your own size:
--hidden 1024 --doubles 1 --singles 3 --text-hidden 256 --vae-scale 1.
"""

import argparse
import ctypes
import json
import math
import os
import pathlib
import re
import shutil
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import torch

TINY = pathlib.Path(__file__).resolve().parent.parent / "models" / "tiny-flux2"
HEAD = 128  # width of an attention head
LATENT = 128
SHAPES = {
    "klein-9b": {"hidden": 4096, "doubles": 8, "singles": 24, "text_hidden": 4096, "vae_scale": 4},
    "klein-4b": {"hidden": 3072, "doubles": 5, "singles": 20, "text_hidden": 2560, "vae_scale": 4},
}
TEXT_LAYERS, TEXT_HEADS, TEXT_KEY_HEADS, TEXT_MLP = 28, 8, 2, 1024
WRITERS = 8


def transformer_shapes(hidden, doubles, singles, context):
    """Names of diffusers' Flux2Transformer2DModel and the shapes of their weights."""
    shapes = {
        "x_embedder": (hidden, LATENT),
        "context_embedder": (hidden, context),
        "time_guidance_embed.timestep_embedder.linear_1": (hidden, 256),
        "time_guidance_embed.timestep_embedder.linear_2": (hidden, hidden),
        "double_stream_modulation_img.linear": (6 * hidden, hidden),
        "double_stream_modulation_txt.linear": (6 * hidden, hidden),
        "single_stream_modulation.linear": (3 * hidden, hidden),
        "norm_out.linear": (2 * hidden, hidden),
        "proj_out": (LATENT, hidden),
    }
    for i in range(doubles):
        block = f"transformer_blocks.{i}."
        for name in ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"):
            shapes[f"{block}attn.{name}"] = (hidden, hidden)
        for name in ("norm_q", "norm_k", "norm_added_q", "norm_added_k"):
            shapes[f"{block}attn.{name}"] = (HEAD,)
        for name in ("ff", "ff_context"):
            shapes[f"{block}{name}.linear_in"] = (6 * hidden, hidden)
            shapes[f"{block}{name}.linear_out"] = (hidden, 3 * hidden)
    for i in range(singles):
        attention = f"single_transformer_blocks.{i}.attn."
        shapes[attention + "to_qkv_mlp_proj"] = (9 * hidden, hidden)
        shapes[attention + "to_out"] = (hidden, 4 * hidden)
        shapes[attention + "norm_q"] = shapes[attention + "norm_k"] = (HEAD,)
    return {name + ".weight": shape for name, shape in shapes.items()}


def text_shapes(hidden, vocabulary):
    """Names of transformers' Qwen3ForCausalLM."""
    shapes = {"embed_tokens": (vocabulary, hidden), "norm": (hidden,)}
    for i in range(TEXT_LAYERS):
        layer = f"layers.{i}."
        shapes[layer + "self_attn.q_proj"] = (TEXT_HEADS * HEAD, hidden)
        shapes[layer + "self_attn.k_proj"] = shapes[layer + "self_attn.v_proj"] = (TEXT_KEY_HEADS * HEAD, hidden)
        shapes[layer + "self_attn.o_proj"] = (hidden, TEXT_HEADS * HEAD)
        shapes[layer + "self_attn.q_norm"] = shapes[layer + "self_attn.k_norm"] = (HEAD,)
        shapes[layer + "mlp.gate_proj"] = shapes[layer + "mlp.up_proj"] = (TEXT_MLP, hidden)
        shapes[layer + "mlp.down_proj"] = (hidden, TEXT_MLP)
        shapes[layer + "input_layernorm"] = shapes[layer + "post_attention_layernorm"] = (hidden,)
    return {"model." + name + ".weight": shape for name, shape in shapes.items()}


def vae_shapes(scale):
    """Those of the tiny model's VAE, `scale` times as wide; what touches pixels or latents keeps its width there."""
    with open(TINY / "vae" / "diffusion_pytorch_model.safetensors", "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    shapes = {}
    for name, entry in header.items():
        if name == "__metadata__" or name == "bn.num_batches_tracked":
            continue
        shape = list(entry["shape"])
        if not name.startswith(("bn.", "quant_conv.", "post_quant_conv.")):
            if ".conv_out." not in name:
                shape[0] *= scale
            if len(shape) > 1 and ".conv_in." not in name:
                shape[1] *= scale
        shapes[name] = tuple(shape)
    return shapes


def values(name, shape, device, seed):
    """Random weights; a name always has the same ones."""
    if re.search(r"norm|layernorm|running_var", name) and len(shape) == 1 and not name.endswith("bias"):
        return torch.ones(shape, dtype=torch.bfloat16)
    if len(shape) == 1:
        return torch.zeros(shape, dtype=torch.bfloat16)
    gain = 1 / math.sqrt(math.prod(shape[1:]))
    if "timestep_embedder" in name:
        gain *= 3  # else every gate of the blocks would be nearly shut
    elif "modulation" in name or "norm_out" in name:
        gain *= 0.5
    elif "embed_tokens" in name:
        gain = 1
    generator = torch.Generator(device=device).manual_seed(seed + zlib.crc32(name.encode()))
    return (torch.randn(shape, generator=generator, device=device, dtype=torch.bfloat16) * gain).cpu()


def write(path, shapes, device, seed):
    """A .safetensors file, its tensors made and written by several threads."""
    header, offset = {}, 0
    for name, shape in shapes.items():
        end = offset + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)

    def put(name):
        tensor = values(name, shapes[name], device, seed)
        data = memoryview((ctypes.c_ubyte * tensor.nbytes).from_address(tensor.data_ptr()))
        at = 8 + len(text) + header[name]["data_offsets"][0]
        while len(data) > 0:
            written = os.pwrite(descriptor, data, at)
            data, at = data[written:], at + written

    try:
        os.truncate(descriptor, 8 + len(text) + offset)
        os.pwrite(descriptor, struct.pack("<Q", len(text)) + text, 0)
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(put, shapes))
    finally:
        os.close(descriptor)
    print(f"{path}: {offset / 1e9:.1f} GB")


def write_config(folder, part, changes):
    config = json.loads((TINY / part / "config.json").read_text()) | changes
    (folder / part / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder to make")
    parser.add_argument("--shape", choices=SHAPES, default="klein-9b")
    parser.add_argument("--device", default="cpu", help="where the numbers are drawn: cuda is much faster")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hidden", type=int, help=f"a multiple of {HEAD}")
    for name in ("doubles", "singles", "text-hidden", "vae-scale"):
        parser.add_argument("--" + name, type=int)
    arguments = parser.parse_args()
    size = SHAPES[arguments.shape] | {
        name: value for name, value in vars(arguments).items() if name in SHAPES["klein-9b"] and value is not None
    }
    out, hidden, text = arguments.out, size["hidden"], size["text_hidden"]

    for part in ("tokenizer", "scheduler"):
        shutil.copytree(TINY / part, out / part, dirs_exist_ok=True)
    shutil.copy(TINY / "model_index.json", out)
    vocabulary = json.loads((TINY / "text_encoder" / "config.json").read_text())["vocab_size"]
    parts = {
        "transformer": transformer_shapes(hidden, size["doubles"], size["singles"], 3 * text),
        "text_encoder": text_shapes(text, vocabulary),
        "vae": vae_shapes(size["vae_scale"]),
    }
    for part, shapes in parts.items():
        file = "model.safetensors" if part == "text_encoder" else "diffusion_pytorch_model.safetensors"
        write(out / part / file, shapes, arguments.device, arguments.seed)
    write_config(out, "transformer", {
        "num_layers": size["doubles"], "num_single_layers": size["singles"], "joint_attention_dim": 3 * text,
        "num_attention_heads": hidden // HEAD,
    })  # fmt: skip
    write_config(out, "text_encoder", {
        "hidden_size": text, "intermediate_size": TEXT_MLP, "num_attention_heads": TEXT_HEADS,
        "num_key_value_heads": TEXT_KEY_HEADS, "head_dim": HEAD,
    })  # fmt: skip
    write_config(out, "vae", {
        "block_out_channels": [size["vae_scale"] * width for width in (32, 64, 128, 128)], "sample_size": 1024,
    })  # fmt: skip


if __name__ == "__main__":
    main()
