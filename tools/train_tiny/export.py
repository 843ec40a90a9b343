"""Writes the trained model as the diffusers folder of Flux2KleinPipeline, and checks it against our networks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import tokenizers
import torch

from . import text
from .evaluate import sheet
from .flow_stage import FULL, TinyModel
from .nets import TinyConfig, Vae, position_ids, rope_table


def write_folder(
    config: TinyConfig, vae: Vae, model: TinyModel, tok: tokenizers.Tokenizer, folder: Path, distilled: bool
) -> None:  # fmt: skip
    """All weights in bf16. Raises if the real classes do not take every tensor or do not agree with ours."""
    from diffusers import (
        AutoencoderKLFlux2,
        FlowMatchEulerDiscreteScheduler,
        Flux2KleinPipeline,
        Flux2Transformer2DModel,
    )
    from transformers import Qwen2TokenizerFast, Qwen3Config, Qwen3ForCausalLM

    vae, model = vae.cpu(), model.cpu()
    transformer = Flux2Transformer2DModel(
        patch_size=1, in_channels=128, num_layers=config.double_blocks, num_single_layers=config.single_blocks,
        attention_head_dim=128, num_attention_heads=config.hidden // 128, joint_attention_dim=config.context,
        timestep_guidance_channels=256, mlp_ratio=3.0, axes_dims_rope=(32, 32, 32, 32), rope_theta=2000, eps=1e-6,
        guidance_embeds=False,
    )  # fmt: skip
    transformer.load_state_dict(model.flux.state_dict())
    encoder = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=config.vocab, hidden_size=config.text_width, intermediate_size=config.text_ffn,
            num_hidden_layers=config.text_layers, num_attention_heads=config.text_heads,
            num_key_value_heads=config.text_kv_heads, head_dim=config.text_head_dim, rope_theta=config.text_theta,
            rms_norm_eps=1e-6, max_position_embeddings=2048, tie_word_embeddings=True, attention_bias=False,
            bos_token_id=tok.token_to_id(text.PAD), eos_token_id=tok.token_to_id(text.END),
            pad_token_id=tok.token_to_id(text.PAD),
        )
    )  # fmt: skip
    encoder.model.load_state_dict(model.text.state_dict())
    encoder.tie_weights()
    autoencoder = AutoencoderKLFlux2(
        block_out_channels=config.vae_channels, down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, latent_channels=config.latent,
        norm_num_groups=config.vae_groups, sample_size=1024, batch_norm_eps=1e-4,
    )  # fmt: skip
    autoencoder.load_state_dict(vae.state_dict())
    _compare(config, vae, model, transformer, encoder, autoencoder)

    folder.mkdir(parents=True, exist_ok=True)
    work = folder / "tokenizer"
    work.mkdir(exist_ok=True)
    tok.save(str(work / "tokenizer.json"))
    tokenizer = Qwen2TokenizerFast.from_pretrained(
        str(work), eos_token=text.END, pad_token=text.PAD, unk_token=None, model_max_length=131072,
        clean_up_tokenization_spaces=False,
    )  # fmt: skip
    tokenizer.chat_template = text.CHAT_TEMPLATE
    scheduler = FlowMatchEulerDiscreteScheduler(
        num_train_timesteps=1000, shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15,
        base_image_seq_len=256, max_image_seq_len=4096, time_shift_type="exponential",
    )  # fmt: skip
    bf16 = torch.bfloat16
    pipe = Flux2KleinPipeline(
        scheduler, autoencoder.to(bf16), encoder.to(bf16), tokenizer, transformer.to(bf16), is_distilled=distilled
    )
    pipe.save_pretrained(folder, safe_serialization=True)
    _write_tokenizer(tok, work)
    (folder / "text_encoder" / "generation_config.json").unlink(missing_ok=True)
    # Older transformers, and most other readers of Qwen3 files, look for these, which are no longer written.
    _edit(
        folder / "text_encoder" / "config.json", lambda c: c | {"rope_theta": config.text_theta, "rope_scaling": None}
    )
    _edit(folder / "model_index.json", lambda c: c | {"tokenizer": ["transformers", "Qwen2TokenizerFast"]})
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)


def _edit(path: Path, change: Callable[[dict], dict]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text())), indent=2) + "\n")


def _write_tokenizer(tok: tokenizers.Tokenizer, folder: Path) -> None:
    """The files of Qwen's own repositories, so that every reader finds the form it knows."""
    tok.no_padding()
    tok.no_truncation()
    tok.save(str(folder / "tokenizer.json"))
    data = json.loads((folder / "tokenizer.json").read_text())
    merges = [" ".join(m) if isinstance(m, list) else m for m in data["model"]["merges"]]
    (folder / "vocab.json").write_text(json.dumps(data["model"]["vocab"], ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    added = {str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in data["added_tokens"]}
    config = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": added,
        "additional_special_tokens": [text.START, text.END],
        "bos_token": None,
        "chat_template": text.CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": text.END,
        "errors": "replace",
        "model_max_length": 131072,
        "pad_token": text.PAD,
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    (folder / "chat_template.jinja").unlink(missing_ok=True)


@torch.no_grad()
def _compare(config: TinyConfig, vae, model, transformer, encoder, autoencoder) -> None:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 500, (2, 64), generator=generator)
    lengths = torch.tensor([20, 41])
    mask = torch.arange(FULL)[None] < lengths[:, None]
    padded = torch.nn.functional.pad(ids, (0, FULL - 64), value=model.pad)
    padded = torch.where(mask, padded, model.pad)
    hidden = encoder(input_ids=padded, attention_mask=mask.long(), output_hidden_states=True).hidden_states
    theirs = torch.cat([hidden[k] for k in (9, 18, 27)], dim=-1)
    _agree("text encoder", model.embed(padded[:, :64], lengths, "right", FULL), theirs)
    x, t = torch.randn(2, 12 * 16, 128, generator=generator), torch.tensor([0.3, 0.9])
    positions = position_ids(FULL, 12, 16, "cpu")
    ours = model.flux(x, theirs, t, *rope_table(positions))
    _agree("transformer", ours, transformer(
        hidden_states=x, encoder_hidden_states=theirs, timestep=t, img_ids=positions[FULL:], txt_ids=positions[:FULL],
        return_dict=False,
    )[0])  # fmt: skip
    image = torch.rand(1, 3, 128, 160, generator=generator) * 2 - 1
    _agree("encoder", vae.moments(image)[0], autoencoder.encode(image).latent_dist.mode())
    z = torch.randn(1, 32, 16, 20, generator=generator)
    _agree("decoder", vae.decode_raw(z), autoencoder.decode(z).sample)


def _agree(name: str, ours: torch.Tensor, theirs: torch.Tensor) -> None:
    error = ((ours - theirs).norm() / theirs.norm()).item()
    print(f"export   {name}: relative difference to the library {error:.1e}", flush=True)
    if not error < 1e-4:
        raise SystemExit(f"{name} differs from the library's ({error:.2e}); nothing written")


def draw_samples(folder: Path, prompts: list[str]) -> None:
    """One sheet of the prompts, drawn by diffusers from the folder just written; seed i for picture i."""
    import numpy as np
    from diffusers import Flux2KleinPipeline

    pipe = Flux2KleinPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    images = []
    for i, prompt in enumerate(prompts):
        picture = pipe(
            prompt=prompt, width=256, height=256, num_inference_steps=4, guidance_scale=1.0,
            generator=torch.Generator("cpu").manual_seed(i), output_type="np",
        ).images[0]  # fmt: skip
        images.append(torch.from_numpy(np.asarray(picture)).permute(2, 0, 1))
    (folder / "samples").mkdir(exist_ok=True)
    sheet(torch.stack(images), 4, str(folder / "samples" / "held_out.png"))
    lines = [f"{i}: {prompt}" for i, prompt in enumerate(prompts)]
    (folder / "samples" / "held_out.txt").write_text("\n".join(lines) + "\n")


def plot_log(log: list[dict], path: Path) -> None:
    """Loss curves of the stages, side by side."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(12, 3.4), dpi=80)
    for axis, stage, title in zip(
        axes, ("vae", "flow", "distil"), ("autoencoder: PSNR, dB", "flow: velocity error", "distillation: loss")
    ):
        rows = [r for r in log if r["stage"] == stage]
        if stage == "vae":
            axis.plot([r["step"] for r in rows], [r["psnr"] for r in rows])
        elif stage == "flow":
            rows = rows[2:] if len(rows) > 10 else rows
            axis.plot([r["step"] for r in rows], [r["loss"] for r in rows])
            axis.set_yscale("log")
        else:
            for own, label in ((0, "from the teacher's states"), (1, "from its own states")):
                part = [r for r in rows if r.get("own") == own]
                axis.plot([r["step"] for r in part], [r["loss"] for r in part], label=label)
            axis.set_yscale("log")
            axis.legend(frameon=False)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path)
