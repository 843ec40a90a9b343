"""Small random FLUX.2 VAEs with diffusers' own pictures and latents, in both file layouts."""

import json

import torch
from diffusers import AutoencoderKLFlux2
from diffusers.pipelines.flux2.pipeline_flux2_klein import Flux2KleinPipeline
from safetensors.torch import save_file

CASES = {
    # name: (config, picture size (batch, height, width))
    "usual": (dict(block_out_channels=(8, 16, 16, 16), layers_per_block=2, latent_channels=32, norm_num_groups=8), (2, 48, 32)),
    "narrow_decoder": (dict(block_out_channels=(16, 32), decoder_block_out_channels=(8, 16), layers_per_block=1,
                            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
                            latent_channels=8, norm_num_groups=4, batch_norm_eps=1e-2), (1, 12, 20)),
    "plain": (dict(block_out_channels=(8, 8), norm_num_groups=2, layers_per_block=1, down_block_types=("DownEncoderBlock2D",) * 2,
                   up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, mid_block_add_attention=False,
                   use_quant_conv=False, use_post_quant_conv=False), (1, 16, 8)),
}


def random_vae(seed, config):
    torch.manual_seed(seed)
    vae = AutoencoderKLFlux2(**config).eval()
    with torch.no_grad():
        for name, p in vae.named_parameters():
            if p.ndim == 1:
                is_norm_weight = "norm" in name and name.endswith("weight")
                scale = 0.002 if "conv_in" in name else 0.3
                p.copy_((1.0 if is_norm_weight else 0.0) + scale * torch.randn_like(p))
            else:
                gain = 3.0 if "to_q" in name or "to_k" in name else 1.0
                if "conv_in" in name:
                    gain = 0.02  # makes the first norms' epsilon matter
                p.copy_(gain * torch.randn_like(p) * p[0].numel() ** -0.5)
            p.copy_(p.to(torch.bfloat16).float())
        vae.bn.running_mean.copy_(torch.randn_like(vae.bn.running_mean))
        vae.bn.running_var.copy_(0.05 + torch.rand_like(vae.bn.running_var))
    return vae


def stored(vae):
    """Weights in bfloat16, statistics as they are."""
    return {k: (v if k.startswith("bn.") else v.to(torch.bfloat16)).contiguous() for k, v in vae.state_dict().items()}


def bfl_name(name, levels):
    """After scripts/convert_flux2_to_diffusers.py, the other way round."""
    parts = name.split(".")
    if parts[0] in ("quant_conv", "post_quant_conv"):
        return ("encoder." if parts[0] == "quant_conv" else "decoder.") + name
    if parts[0] == "bn":
        return name
    half, module, rest = parts[0], parts[1], parts[2:]
    inner = {"conv_shortcut": "nin_shortcut", "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v"}
    if module in ("down_blocks", "up_blocks"):
        level = int(rest[0]) if module == "down_blocks" else levels - 1 - int(rest[0])
        side = module.split("_")[0]
        if rest[1] == "resnets":
            return ".".join([half, side, str(level), "block", rest[2], inner.get(rest[3], rest[3]), rest[4]])
        return ".".join([half, side, str(level), f"{side}sample", "conv", rest[-1]])
    if module == "mid_block":
        if rest[0] == "resnets":
            return ".".join([half, "mid", f"block_{int(rest[1]) + 1}", inner.get(rest[2], rest[2]), rest[3]])
        leaf = "proj_out" if rest[2] == "to_out" else inner[rest[2]]
        return ".".join([half, "mid", "attn_1", leaf, rest[-1]])
    return ".".join([half, "norm_out" if module == "conv_norm_out" else module, *rest])


def write_bfl(vae, path):
    levels = len(vae.config.up_block_types)
    tensors = {}
    for name, tensor in stored(vae).items():
        if ".attentions.0.to_" in name and name.endswith("weight"):
            tensor = tensor[:, :, None, None].contiguous()
        tensors[bfl_name(name, levels)] = tensor
    save_file(tensors, path)


def write(folder):
    for seed, (name, (config, size)) in enumerate(CASES.items(), start=1):
        vae = random_vae(seed, config)
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        vae.save_config(place)
        save_file(stored(vae), place / "diffusion_pytorch_model.safetensors")
        batch, height, width = size
        generator = torch.Generator().manual_seed(seed)
        sample = torch.rand((batch, 3, height, width), generator=generator) * 2 - 1
        with torch.no_grad():
            latent = vae.encode(sample).latent_dist.mode()
            normalised = Flux2KleinPipeline._encode_vae_image(Holder(vae), sample, generator)
            z = torch.randn(latent.shape, generator=generator)
            z_normalised = (Flux2KleinPipeline._patchify_latents(z) - mean(vae)) / spread(vae)
            decoded = vae.decode(z).sample
        tensors = {"sample": sample, "latent": latent, "latent_normalised": normalised,
                   "z": z, "z_normalised": z_normalised, "decoded": decoded}
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / f"{name}.safetensors")
        (folder / f"{name}_names.json").write_text(
            json.dumps({k: bfl_name(k, len(vae.config.up_block_types)) for k in vae.state_dict()}, indent=0) + "\n")
    # BFL files have no config: 32 groups, so that width 32 is the least.
    config = dict(block_out_channels=(32, 32), norm_num_groups=32, mid_block_add_attention=True, use_quant_conv=True, use_post_quant_conv=True)
    small = random_vae(9, CASES["plain"][0] | config)
    write_bfl(small, folder / "bfl.safetensors")
    sample = torch.rand((1, 3, 16, 8), generator=torch.Generator().manual_seed(9)) * 2 - 1
    with torch.no_grad():
        latent = small.encode(sample).latent_dist.mode()
        save_file({"sample": sample, "latent": latent, "decoded": small.decode(latent).sample}, folder / "bfl_case.safetensors")


def mean(vae):
    return vae.bn.running_mean.view(1, -1, 1, 1)


def spread(vae):
    return torch.sqrt(vae.bn.running_var.view(1, -1, 1, 1) + vae.config.batch_norm_eps)


class Holder:
    """What the pipeline's own encoding step wants of a pipeline."""

    _patchify_latents = staticmethod(Flux2KleinPipeline._patchify_latents)

    def __init__(self, vae):
        self.vae = vae
