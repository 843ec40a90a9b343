#!/usr/bin/env python3
"""Makes tests/fixtures/flux2: small random FLUX.2 models with what diffusers computes from them.

Every case is a folder with a model in one of the file layouts, `arguments.safetensors` (the arguments of
Flux2Transformer2DModel.forward) and `expected.safetensors` (the state that enters every block and the output, all
float32). Weights are random with gains under which a mistake moves the output by per cents: plain random
initialisation gives small gates and flat attention, and hides mistakes.

Needs torch, diffusers (0.37 or newer) and safetensors. Run: python tools/make_flux2_fixtures.py
"""

import contextlib
import json
import math
import pathlib
import shutil

import torch
from diffusers import Flux2Transformer2DModel
from diffusers.loaders.single_file_utils import convert_flux2_transformer_checkpoint_to_diffusers
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "flux2"
PREFIX = "model.diffusion_model."

# References are (height, width) in tokens, as is the picture. `text` rows before `padding_left` are zeros, as ComfyUI pads.
CASES = {
    "klein_diffusers": dict(seed=1, doubles=2, singles=2, layout="diffusers", grid=(3, 5), text=7),
    "klein_bfl_batch": dict(seed=2, doubles=1, singles=3, layout="bfl", grid=(4, 2), text=5, batch=2, dtype="bf16"),
    "dev_prefixed_batch": dict(seed=3, doubles=2, singles=1, layout="prefixed", grid=(2, 6), text=9, batch=2, guidance=True,
                               dtype="fp16"),
    "dev_sharded_references": dict(seed=4, doubles=2, singles=2, layout="sharded", grid=(4, 3), text=6, guidance=True,
                                   references=[(2, 3), (3, 1)], batch=2),
    "klein_padded_text": dict(seed=5, doubles=1, singles=2, layout="bfl", grid=(5, 3), text=40, padding_left=31, heads=3,
                              mlp_ratio=4.0, dtype="bf16"),
    "klein_head128_fp8": dict(seed=6, doubles=1, singles=1, layout="bfl", grid=(4, 4), text=8, heads=1, head_width=128,
                              latent=128, dtype="fp8"),
    "dev_scaled_fp8": dict(seed=7, doubles=1, singles=2, layout="prefixed", grid=(3, 3), text=6, guidance=True,
                           dtype="scaled_fp8", references=[(1, 4)]),
    "klein_legacy_scaled_fp8": dict(seed=8, doubles=2, singles=1, layout="bfl", grid=(2, 3), text=5,
                                    dtype="legacy_scaled_fp8"),
}


def randomised(model, generator):
    """Gives every parameter a value from the case's own generator, with gains that make mistakes show."""
    def normal(shape, gain):
        return torch.randn(shape, generator=generator) * gain

    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:  # q and k norms
            value = 1.5 + 0.5 * normal(parameter.shape, 1.0)
        else:
            gain = 1.0 / math.sqrt(parameter.shape[1])
            if "timestep_embedder" in name or "guidance_embedder" in name:
                gain *= 3.0
            elif "modulation" in name or "norm_out" in name:
                gain *= 0.5
            value = normal(parameter.shape, gain)
            if name.endswith("to_q.weight"):
                value[:4] *= 1e-3  # part of a head with tiny queries
            if "attn.to_q" in name or "add_k" in name:
                value[-model.config.attention_head_dim:] *= 1e-3  # one head whose norm is about eps
        parameter.data.copy_(value)


def bfl_state(state, doubles):
    """The BFL single-file form of a diffusers state dict, checked against diffusers' own converter."""
    renames = [
        ("x_embedder.", "img_in."), ("context_embedder.", "txt_in."), ("proj_out.", "final_layer.linear."),
        ("time_guidance_embed.timestep_embedder.linear_1.", "time_in.in_layer."),
        ("time_guidance_embed.timestep_embedder.linear_2.", "time_in.out_layer."),
        ("time_guidance_embed.guidance_embedder.linear_1.", "guidance_in.in_layer."),
        ("time_guidance_embed.guidance_embedder.linear_2.", "guidance_in.out_layer."),
        ("modulation_img.linear.", "modulation_img.lin."), ("modulation_txt.linear.", "modulation_txt.lin."),
        ("single_stream_modulation.linear.", "single_stream_modulation.lin."),
        (".attn.to_out.0.", ".img_attn.proj."), (".attn.to_add_out.", ".txt_attn.proj."),
        (".attn.norm_added_q.weight", ".txt_attn.norm.query_norm.scale"),
        (".attn.norm_added_k.weight", ".txt_attn.norm.key_norm.scale"),
        (".ff.linear_in.", ".img_mlp.0."), (".ff.linear_out.", ".img_mlp.2."),
        (".ff_context.linear_in.", ".txt_mlp.0."), (".ff_context.linear_out.", ".txt_mlp.2."),
        (".attn.to_qkv_mlp_proj.", ".linear1."), (".attn.to_out.", ".linear2."),
    ]
    out = {}
    for name, value in state.items():
        if any(part in name for part in (".to_q.", ".to_k.", ".to_v.", ".add_q_", ".add_k_", ".add_v_")):
            continue
        if name == "norm_out.linear.weight":
            out["final_layer.adaLN_modulation.1.weight"] = torch.cat(list(reversed(value.chunk(2))))
            continue
        single = name.startswith("single_transformer_blocks.")
        new = name.replace("single_transformer_blocks.", "single_blocks.").replace("transformer_blocks.", "double_blocks.")
        norm = "norm" if single else "img_attn.norm"
        new = new.replace("attn.norm_q.weight", f"{norm}.query_norm.scale").replace("attn.norm_k.weight", f"{norm}.key_norm.scale")
        for old, short in renames:
            new = new.replace(old, short)
        out[new] = value
    for i in range(doubles):
        attention = f"transformer_blocks.{i}.attn."
        out[f"double_blocks.{i}.img_attn.qkv.weight"] = torch.cat([state[f"{attention}to_{x}.weight"] for x in "qkv"])
        out[f"double_blocks.{i}.txt_attn.qkv.weight"] = torch.cat([state[f"{attention}add_{x}_proj.weight"] for x in "qkv"])
    back = convert_flux2_transformer_checkpoint_to_diffusers(dict(out))
    assert back.keys() == state.keys() and all(torch.equal(back[k], state[k]) for k in state)
    return out


def quantised(state, dtype):
    """(what the file stores, what it means in float32). Norms, embedders and the final layer keep bf16, as in real files."""
    plain = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "fp8": torch.float8_e4m3fn}
    if dtype in plain:
        stored = {k: v.to(torch.bfloat16 if dtype == "fp8" and v.ndim == 1 else plain[dtype]) for k, v in state.items()}
        return stored, {k: v.float() for k, v in stored.items()}, {}
    stored, meaning, metadata = {}, {}, {}
    legacy = dtype == "legacy_scaled_fp8"
    layers = {}
    for index, (name, value) in enumerate(state.items()):
        if "blocks." not in name or value.ndim == 1:
            stored[name] = value.to(torch.bfloat16)
            meaning[name] = stored[name].float()
            continue
        fp8 = torch.float8_e5m2 if index % 5 == 4 else torch.float8_e4m3fn
        scale = value.abs().max() / torch.finfo(fp8).max
        stored[name] = (value / scale).to(fp8)
        meaning[name] = stored[name].to(torch.float32) * scale
        layer = name.removesuffix(".weight")
        if legacy:
            stored[layer + ".scale_weight"] = scale.reshape(1)
            stored[layer + ".scale_input"] = torch.ones(1)
            continue
        stored[layer + ".weight_scale"] = scale
        note = {"format": "float8_e5m2" if fp8 == torch.float8_e5m2 else "float8_e4m3fn"}
        if index % 2:
            layers[layer] = note
        else:
            stored[layer + ".comfy_quant"] = torch.tensor(list(json.dumps(note).encode()), dtype=torch.uint8)
    if legacy:
        stored["scaled_fp8"] = torch.zeros(0, dtype=torch.float8_e4m3fn)
    else:
        metadata["_quantization_metadata"] = json.dumps({"format_version": "1.0", "layers": layers})
    return stored, meaning, metadata


def save_model(folder, case, model, state):
    """Writes the weights in the case's layout and returns what they mean in float32, under diffusers' names."""
    layout, dtype = case["layout"], case.get("dtype", "fp32")
    if layout in ("diffusers", "sharded"):
        assert dtype == "fp32"
        model.save_pretrained(folder / "transformer", max_shard_size="120KB" if layout == "sharded" else "10GB")
        return state
    stored, meaning, metadata = quantised(bfl_state(state, case["doubles"]), dtype)
    if layout == "prefixed":
        # As ComfyUI saves it: prefixed, norm weights spelled `.weight`.
        layers = json.loads(metadata.get("_quantization_metadata", "{}"))
        if layers:
            layers["layers"] = {PREFIX + k: v for k, v in layers["layers"].items()}
            metadata["_quantization_metadata"] = json.dumps(layers)
        stored = {PREFIX + k.replace("_norm.scale", "_norm.weight"): v for k, v in stored.items()}
    save_file({k: v.contiguous() for k, v in stored.items()}, folder / "model.safetensors", metadata=metadata or None)
    return convert_flux2_transformer_checkpoint_to_diffusers(meaning)


def position_ids(case):
    def grid(time, height, width):
        return [(10 * time, h, w, 0) for h in range(height) for w in range(width)]

    image = grid(0, *case["grid"])
    for index, reference in enumerate(case.get("references", [])):
        image += grid(index + 1, *reference)
    return torch.tensor(image), torch.tensor([(0, 0, 0, l) for l in range(case["text"])])


def make_arguments(case, model, generator):
    batch, latent, context = case.get("batch", 1), model.config.in_channels, model.config.joint_attention_dim
    image_ids, text_ids = position_ids(case)
    hidden = torch.randn(batch, len(image_ids), latent, generator=generator)
    hidden[:, 1] *= 1e-3  # a token whose variance is about the norms' eps
    text = torch.randn(batch, case["text"], context, generator=generator)
    text[:, : case.get("padding_left", 0)] = 0
    arguments = dict(hidden_states=hidden, encoder_hidden_states=text, img_ids=image_ids, txt_ids=text_ids,
                     timestep=torch.rand(batch, generator=generator) * 0.8 + 0.1)
    if case.get("guidance"):
        arguments["guidance"] = torch.rand(batch, generator=generator) * 3 + 1
    return arguments


@contextlib.contextmanager
def exp_rounded_from_float64():
    """float32 exp differs in its last bit from processor to processor; at timestep angles near 4000 that is 1e-4."""
    exp = torch.exp
    torch.exp = lambda x: exp(x.double()).to(x.dtype)
    try:
        yield
    finally:
        torch.exp = exp


def evaluate(model, arguments):
    """The output and the state that enters every block."""
    states, hooks = {}, []
    text_tokens = arguments["encoder_hidden_states"].shape[1]
    doubles = len(model.transformer_blocks)

    def watch(index):
        def hook(_module, args, kwargs):
            image = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
            text = kwargs.get("encoder_hidden_states")
            if index >= doubles:
                text, image = image[:, :text_tokens], image[:, text_tokens:]
            states[f"hidden.{index}.image"], states[f"hidden.{index}.text"] = image.clone(), text.clone()
        return hook

    for index, block in enumerate([*model.transformer_blocks, *model.single_transformer_blocks]):
        hooks.append(block.register_forward_pre_hook(watch(index), with_kwargs=True))
    with torch.no_grad(), exp_rounded_from_float64():
        output = model(**arguments, return_dict=False)[0]
    for hook in hooks:
        hook.remove()
    return {**states, "sample": output}


def make_case(name, case):
    folder = FOLDER / name
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(case["seed"])
    width = case.get("head_width", 16)
    config = dict(in_channels=case.get("latent", 4), num_layers=case["doubles"], num_single_layers=case["singles"],
                  attention_head_dim=width, num_attention_heads=case.get("heads", 2), joint_attention_dim=24,
                  mlp_ratio=case.get("mlp_ratio", 3.0), axes_dims_rope=(width // 4,) * 4,
                  guidance_embeds=bool(case.get("guidance")))
    model = Flux2Transformer2DModel(**config).eval()
    randomised(model, generator)
    model.load_state_dict(save_model(folder, case, model, dict(model.state_dict())))
    arguments = make_arguments(case, model, generator)
    expected = evaluate(model, arguments)
    assert all(value.isfinite().all() for value in expected.values())
    save_file({k: v.contiguous() for k, v in arguments.items()}, folder / "arguments.safetensors")
    save_file({k: v.contiguous() for k, v in expected.items()}, folder / "expected.safetensors")
    ranges = {k: f"{v.abs().max():.3g}" for k, v in expected.items() if k.endswith(".image") or k == "sample"}
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    print(f"{name}: {size / 1e6:.2f} MB, largest values {ranges}")


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    for name, case in CASES.items():
        make_case(name, case)
    print(f"in all {sum(p.stat().st_size for p in FOLDER.rglob('*') if p.is_file()) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
