"""Noise levels and noise, as diffusers' FLUX.2 pipelines make them."""

import json

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.flux2.pipeline_flux2_klein import Flux2KleinPipeline, compute_empirical_mu
from diffusers.utils.torch_utils import randn_tensor
from safetensors.torch import save_file

TOKENS = [1, 4, 16, 64, 256, 1000, 1024, 2048, 4096, 4299, 4300, 4301, 8160, 16384]
STEPS = [1, 2, 3, 4, 5, 8, 20, 28, 50, 100]


def sigma_table():
    rows = []
    for tokens in TOKENS:
        for steps in STEPS:
            scheduler = FlowMatchEulerDiscreteScheduler(
                num_train_timesteps=1000, shift=3.0, use_dynamic_shifting=True, time_shift_type="exponential"
            )
            scheduler.set_timesteps(
                sigmas=np.linspace(1.0, 1 / steps, steps), mu=compute_empirical_mu(tokens, steps), device="cpu"
            )
            rows.append({"tokens": tokens, "steps": steps, "sigmas": scheduler.sigmas.tolist()})
    return "[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]\n"


def write_noise(path):
    tensors = {}
    for seed, batch, channels, height, width in [(0, 1, 128, 2, 3), (42, 2, 128, 3, 2), (2**63 + 5, 1, 16, 1, 1), (7, 1, 4, 1, 3)]:
        generator = torch.Generator("cpu").manual_seed(seed)
        noise = randn_tensor((batch, channels, height, width), generator=generator, device=torch.device("cpu"), dtype=torch.float32)
        tensors[f"seed{seed}.b{batch}.h{height}.w{width}"] = Flux2KleinPipeline._pack_latents(noise).contiguous()
    save_file(tensors, path)
