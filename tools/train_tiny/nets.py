"""The three networks in plain torch, with the parameter names of diffusers and transformers.

They exist so that training needs torch alone and compiles block by block; `export.py` loads the trained
weights into the real classes (strict) and compares the outputs, so the two cannot drift apart.
"""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TAPS = (9, 18, 27)  # Klein reads these hidden states of its text encoder


@dataclasses.dataclass(frozen=True)
class TinyConfig:
    """Sizes of the whole model. FLUX.2 fixes the rest (head size 128, four rope axes of 32, 128 channels)."""

    vocab: int = 640
    text_width: int = 64
    text_ffn: int = 160
    text_layers: int = 28  # one more than the last tap, so that no tap carries the final norm
    text_heads: int = 2
    text_kv_heads: int = 1
    text_head_dim: int = 32
    text_theta: float = 1e6
    text_rows: int = 80  # tokens of the longest caption with its chat frame, rounded up
    hidden: int = 256
    double_blocks: int = 2
    single_blocks: int = 4
    vae_channels: tuple[int, ...] = (32, 64, 128, 128)
    vae_groups: int = 32
    latent: int = 32

    @property
    def context(self) -> int:
        return len(TAPS) * self.text_width


class RMSNorm(nn.Module):
    def __init__(self, dim: int, eps: float = 1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)
        return (y * self.weight).to(x.dtype)


def compile_block(block: nn.Module) -> None:
    """Gives the block a compiled twin, used where `fast` is asked for. Blocks of a kind share one compilation,
    and each shape compiles anew: ask for it where a shape is used for long, and let the rest run as it is."""
    if not hasattr(block, "compiled"):
        object.__setattr__(block, "compiled", torch.compile(block, dynamic=False))


def _call(block: nn.Module, fast: bool) -> nn.Module:
    return block.compiled if fast and hasattr(block, "compiled") else block


def linear(a: int, b: int) -> nn.Linear:
    return nn.Linear(a, b, bias=False)


# --- text encoder: Qwen3 --------------------------------------------------------------------------------


class _Named(nn.Module):
    """A bag of sub-modules, to reproduce the dotted names of the original classes."""

    def __init__(self, **modules: nn.Module):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


class Qwen3Layer(nn.Module):
    def __init__(self, c: TinyConfig):
        super().__init__()
        w, d = c.text_width, c.text_head_dim
        self.head_dim = d
        self.groups = c.text_heads // c.text_kv_heads
        self.self_attn = _Named(
            q_proj=linear(w, c.text_heads * d),
            k_proj=linear(w, c.text_kv_heads * d),
            v_proj=linear(w, c.text_kv_heads * d),
            o_proj=linear(c.text_heads * d, w),
            q_norm=RMSNorm(d),
            k_norm=RMSNorm(d),
        )
        self.mlp = _Named(
            gate_proj=linear(w, c.text_ffn), up_proj=linear(w, c.text_ffn), down_proj=linear(c.text_ffn, w)
        )
        self.input_layernorm = RMSNorm(w)
        self.post_attention_layernorm = RMSNorm(w)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        a = self.self_attn
        h = self.input_layernorm(x)
        q = a.q_norm(a.q_proj(h).unflatten(-1, (-1, self.head_dim))).transpose(1, 2)
        k = a.k_norm(a.k_proj(h).unflatten(-1, (-1, self.head_dim))).transpose(1, 2)
        v = a.v_proj(h).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        q, k = _rope_half(q, cos, sin), _rope_half(k, cos, sin)
        k, v = (t.repeat_interleave(self.groups, dim=1) for t in (k, v))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        x = x + a.o_proj(out.transpose(1, 2).flatten(2))
        h = self.post_attention_layernorm(x)
        m = self.mlp
        return x + m.down_proj(F.silu(m.gate_proj(h)) * m.up_proj(h))


def _rope_half(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x.dtype)


class Qwen3(nn.Module):
    """`model.*` of Qwen3ForCausalLM; the last layer and the final norm are carried along untrained."""

    def __init__(self, c: TinyConfig):
        super().__init__()
        self.c = c
        self.embed_tokens = nn.Embedding(c.vocab, c.text_width)
        self.layers = nn.ModuleList(Qwen3Layer(c) for _ in range(c.text_layers))
        self.norm = RMSNorm(c.text_width)
        nn.init.normal_(self.embed_tokens.weight, std=0.7)
        for name, p in self.named_parameters():
            if p.ndim == 2 and "embed" not in name:
                last = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(p, std=p.shape[1] ** -0.5 * (0.25 if last else 1.0))

    def forward(self, ids: Tensor, mask: Tensor | None, fast: bool = False) -> Tensor:
        """[B,S] ids to [B,S,3W] taps. `mask` [B,S] as the tokenizer gives it; None is plain causal attention."""
        s = ids.shape[1]
        d = self.c.text_head_dim
        inv = self.c.text_theta ** (-torch.arange(0, d, 2, device=ids.device).float() / d)
        angle = torch.arange(s, device=ids.device).float()[:, None] * inv
        cos, sin = angle.cos(), angle.sin()
        full = None
        if mask is not None:
            seen = torch.ones(s, s, dtype=torch.bool, device=ids.device).tril()[None] & mask.bool()[:, None, :]
            device = ids.device.type
            dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
            full = torch.zeros(seen.shape, dtype=dtype, device=ids.device).masked_fill(~seen, float("-inf"))[:, None]
        x = self.embed_tokens(ids)
        taps = []
        for i in range(max(TAPS)):
            x = _call(self.layers[i], fast)(x, cos, sin, full)
            if i + 1 in TAPS:
                taps.append(x)
        return torch.cat(taps, dim=-1)


def left_layout(embeds: Tensor, lengths: Tensor, total: int) -> Tensor:
    """Moves each row's first `lengths` embeddings to the right end of `total`, zeros before them."""
    b, s, w = embeds.shape
    source = torch.arange(total, device=embeds.device)[None] - (total - lengths[:, None])
    rows = embeds.gather(1, source.clamp(0, s - 1)[..., None].expand(-1, -1, w))
    return rows * (source >= 0)[..., None].to(rows.dtype)


# --- transformer: FLUX.2 --------------------------------------------------------------------------------


def rope_table(ids: Tensor, theta: float = 2000.0) -> tuple[Tensor, Tensor]:
    """[S,4] positions to cos and sin [S,64]: four axes of 16 pairs, angles in double precision."""
    omega = theta ** (-torch.arange(0, 32, 2, dtype=torch.float64, device=ids.device) / 32)
    angle = (ids.double()[:, :, None] * omega).flatten(1)
    return angle.cos().float(), angle.sin().float()


def position_ids(text: int, h: int, w: int, device, text_start: int = 0) -> Tensor:
    """Text (0,0,0,l) then image (0,y,x,0). `text_start` lets a shortened left-padded text keep its places."""
    t = torch.zeros(text, 4, device=device)
    t[:, 3] = torch.arange(text_start, text_start + text, device=device)
    i = torch.zeros(h, w, 4, device=device)
    i[..., 1] = torch.arange(h, device=device)[:, None]
    i[..., 2] = torch.arange(w, device=device)[None]
    return torch.cat([t, i.flatten(0, 1)])


def _rope_pairs(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    p = x.float().unflatten(-1, (-1, 2))
    a, b = p[..., 0], p[..., 1]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2).to(x.dtype)


def _attention(q: Tensor, k: Tensor, v: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """[B,S,n,128] each; full attention over the joint sequence."""
    q = _rope_pairs(q, cos[:, None], sin[:, None]).transpose(1, 2)
    k = _rope_pairs(k, cos[:, None], sin[:, None]).transpose(1, 2)
    return F.scaled_dot_product_attention(q, k, v.transpose(1, 2)).transpose(1, 2).flatten(2)


def _heads(x: Tensor) -> Tensor:
    return x.unflatten(-1, (-1, 128))


def _modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift


class FeedForward(nn.Module):
    def __init__(self, h: int):
        super().__init__()
        self.linear_in = linear(h, 6 * h)
        self.linear_out = linear(3 * h, h)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.linear_in(x).chunk(2, dim=-1)
        return self.linear_out(F.silu(a) * b)


class DoubleBlock(nn.Module):
    def __init__(self, h: int):
        super().__init__()
        self.attn = _Named(
            to_q=linear(h, h), to_k=linear(h, h), to_v=linear(h, h),
            add_q_proj=linear(h, h), add_k_proj=linear(h, h), add_v_proj=linear(h, h),
            to_out=nn.ModuleList([linear(h, h)]), to_add_out=linear(h, h),
            norm_q=RMSNorm(128), norm_k=RMSNorm(128), norm_added_q=RMSNorm(128), norm_added_k=RMSNorm(128),
        )  # fmt: skip
        self.ff = FeedForward(h)
        self.ff_context = FeedForward(h)

    def forward(self, img: Tensor, txt: Tensor, mi: Tensor, mt: Tensor, cos: Tensor, sin: Tensor):
        a = self.attn
        mi, mt = mi[:, None].chunk(6, dim=-1), mt[:, None].chunk(6, dim=-1)
        x, c = _modulate(img, mi[0], mi[1]), _modulate(txt, mt[0], mt[1])
        q = torch.cat([a.norm_added_q(_heads(a.add_q_proj(c))), a.norm_q(_heads(a.to_q(x)))], dim=1)
        k = torch.cat([a.norm_added_k(_heads(a.add_k_proj(c))), a.norm_k(_heads(a.to_k(x)))], dim=1)
        v = torch.cat([_heads(a.add_v_proj(c)), _heads(a.to_v(x))], dim=1)
        out_t, out_i = _attention(q, k, v, cos, sin).split([txt.shape[1], img.shape[1]], dim=1)
        img = img + mi[2] * a.to_out[0](out_i)
        img = img + mi[5] * self.ff(_modulate(img, mi[3], mi[4]))
        txt = txt + mt[2] * a.to_add_out(out_t)
        txt = txt + mt[5] * self.ff_context(_modulate(txt, mt[3], mt[4]))
        return img, txt


class SingleBlock(nn.Module):
    def __init__(self, h: int):
        super().__init__()
        self.attn = _Named(
            to_qkv_mlp_proj=linear(h, 9 * h), to_out=linear(4 * h, h), norm_q=RMSNorm(128), norm_k=RMSNorm(128)
        )

    def forward(self, x: Tensor, m: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        a = self.attn
        h = x.shape[-1]
        shift, scale, gate = m[:, None].chunk(3, dim=-1)
        q, k, v, u, g = a.to_qkv_mlp_proj(_modulate(x, shift, scale)).split([h, h, h, 3 * h, 3 * h], dim=-1)
        out = _attention(a.norm_q(_heads(q)), a.norm_k(_heads(k)), _heads(v), cos, sin)
        return x + gate * a.to_out(torch.cat([out, F.silu(u) * g], dim=-1))


class Flux2(nn.Module):
    def __init__(self, c: TinyConfig):
        super().__init__()
        h = c.hidden
        self.x_embedder = linear(128, h)
        self.context_embedder = linear(c.context, h)
        self.time_guidance_embed = _Named(timestep_embedder=_Named(linear_1=linear(256, h), linear_2=linear(h, h)))
        self.double_stream_modulation_img = _Named(linear=linear(h, 6 * h))
        self.double_stream_modulation_txt = _Named(linear=linear(h, 6 * h))
        self.single_stream_modulation = _Named(linear=linear(h, 3 * h))
        self.transformer_blocks = nn.ModuleList(DoubleBlock(h) for _ in range(c.double_blocks))
        self.single_transformer_blocks = nn.ModuleList(SingleBlock(h) for _ in range(c.single_blocks))
        self.norm_out = _Named(linear=linear(h, 2 * h))
        self.proj_out = linear(h, 128)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                nn.init.normal_(p, std=p.shape[1] ** -0.5 * 0.8)
            if "modulation" in name or "norm_out" in name:
                # Small and not zero: closed gates would leave the first steps with no signal to the blocks.
                nn.init.normal_(p, std=0.02)
        nn.init.normal_(self.proj_out.weight, std=0.01)
        embed = self.time_guidance_embed.timestep_embedder
        nn.init.normal_(embed.linear_1.weight, std=256**-0.5 * 1.5)
        nn.init.normal_(embed.linear_2.weight, std=h**-0.5 * 1.5)

    def forward(self, x: Tensor, context: Tensor, t: Tensor, cos: Tensor, sin: Tensor, fast: bool = False) -> Tensor:
        """Velocity [B,S,128] of latents x at times t in 0..1; cos and sin cover text then image tokens."""
        freq = torch.exp(-math.log(10000) * torch.arange(128, device=x.device).float() / 128)
        angle = t.float()[:, None] * 1000 * freq
        embed = self.time_guidance_embed.timestep_embedder
        vec = embed.linear_2(F.silu(embed.linear_1(torch.cat([angle.cos(), angle.sin()], dim=-1))))
        vec = F.silu(vec)
        mi = self.double_stream_modulation_img.linear(vec)
        mt = self.double_stream_modulation_txt.linear(vec)
        ms = self.single_stream_modulation.linear(vec)
        img, txt = self.x_embedder(x), self.context_embedder(context)
        for block in self.transformer_blocks:
            img, txt = _call(block, fast)(img, txt, mi, mt, cos, sin)
        joint = torch.cat([txt, img], dim=1)
        for block in self.single_transformer_blocks:
            joint = _call(block, fast)(joint, ms, cos, sin)
        scale, shift = self.norm_out.linear(vec)[:, None].chunk(2, dim=-1)
        return self.proj_out(_modulate(joint[:, txt.shape[1] :], shift, scale))


# --- VAE: AutoencoderKLFlux2 ----------------------------------------------------------------------------


def norm_silu(x: Tensor, norm: nn.GroupNorm) -> Tensor:
    return F.silu(norm(x))


class ResnetBlock(nn.Module):
    def __init__(self, a: int, b: int, groups: int):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups, a, eps=1e-6), nn.Conv2d(a, b, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(groups, b, eps=1e-6), nn.Conv2d(b, b, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(a, b, 1) if a != b else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(norm_silu(x, self.norm1))
        h = self.conv2(norm_silu(h, self.norm2))
        return (x if self.conv_shortcut is None else self.conv_shortcut(x)) + h


class AttnBlock(nn.Module):
    def __init__(self, c: int, groups: int):
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, c, eps=1e-6)
        self.to_q, self.to_k, self.to_v = nn.Linear(c, c), nn.Linear(c, c), nn.Linear(c, c)
        self.to_out = nn.ModuleList([nn.Linear(c, c)])

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        y = self.group_norm(x).flatten(2).transpose(1, 2)
        y = F.scaled_dot_product_attention(*(p(y)[:, None] for p in (self.to_q, self.to_k, self.to_v)))[:, 0]
        return x + self.to_out[0](y).transpose(1, 2).unflatten(2, (h, w))


class _Down(nn.Module):
    def __init__(self, c: int):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class _Up(nn.Module):
    def __init__(self, c: int):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def _mid(c: int, groups: int) -> _Named:
    return _Named(
        resnets=nn.ModuleList([ResnetBlock(c, c, groups), ResnetBlock(c, c, groups)]),
        attentions=nn.ModuleList([AttnBlock(c, groups)]),
    )


def _run_mid(mid: _Named, x: Tensor) -> Tensor:
    return mid.resnets[1](mid.attentions[0](mid.resnets[0](x)))


class Encoder(nn.Module):
    def __init__(self, c: TinyConfig):
        super().__init__()
        ch, g = c.vae_channels, c.vae_groups
        self.conv_in = nn.Conv2d(3, ch[0], 3, padding=1)
        self.down_blocks = nn.ModuleList()
        for i, (a, b) in enumerate(zip((ch[0], *ch), ch)):
            block = _Named(resnets=nn.ModuleList([ResnetBlock(a, b, g), ResnetBlock(b, b, g)]))
            if i < len(ch) - 1:
                block.add_module("downsamplers", nn.ModuleList([_Down(b)]))
            self.down_blocks.append(block)
        self.mid_block = _mid(ch[-1], g)
        self.conv_norm_out = nn.GroupNorm(g, ch[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(ch[-1], 2 * c.latent, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for block in self.down_blocks:
            for resnet in block.resnets:
                x = resnet(x)
            if hasattr(block, "downsamplers"):
                x = block.downsamplers[0](x)
        return self.conv_out(norm_silu(_run_mid(self.mid_block, x), self.conv_norm_out))


class Decoder(nn.Module):
    def __init__(self, c: TinyConfig):
        super().__init__()
        ch, g = tuple(reversed(c.vae_channels)), c.vae_groups
        self.conv_in = nn.Conv2d(c.latent, ch[0], 3, padding=1)
        self.mid_block = _mid(ch[0], g)
        self.up_blocks = nn.ModuleList()
        for i, (a, b) in enumerate(zip((ch[0], *ch), ch)):
            block = _Named(resnets=nn.ModuleList([ResnetBlock(a, b, g), ResnetBlock(b, b, g), ResnetBlock(b, b, g)]))
            if i < len(ch) - 1:
                block.add_module("upsamplers", nn.ModuleList([_Up(b)]))
            self.up_blocks.append(block)
        self.conv_norm_out = nn.GroupNorm(g, ch[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(ch[-1], 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = _run_mid(self.mid_block, self.conv_in(z))
        for block in self.up_blocks:
            for resnet in block.resnets:
                x = resnet(x)
            if hasattr(block, "upsamplers"):
                x = block.upsamplers[0](x)
        return self.conv_out(norm_silu(x, self.conv_norm_out))


class Vae(nn.Module):
    """`encode` and `decode` speak the normalised 128-channel latent of the transformer, [B,128,H/16,W/16]."""

    def __init__(self, c: TinyConfig):
        super().__init__()
        self.encoder, self.decoder = Encoder(c), Decoder(c)
        self.quant_conv = nn.Conv2d(2 * c.latent, 2 * c.latent, 1)
        self.post_quant_conv = nn.Conv2d(c.latent, c.latent, 1)
        self.bn = nn.BatchNorm2d(4 * c.latent, eps=1e-4, affine=False)

    def moments(self, image: Tensor) -> tuple[Tensor, Tensor]:
        mean, logvar = self.quant_conv(self.encoder(image)).chunk(2, dim=1)
        return mean, logvar.clamp(-30, 20)

    def decode_raw(self, z: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(z))

    def _stats(self) -> tuple[Tensor, Tensor]:
        return self.bn.running_mean[None, :, None, None], (self.bn.running_var + 1e-4).sqrt()[None, :, None, None]

    def encode(self, image: Tensor) -> Tensor:
        mean, std = self._stats()
        return (patchify(self.moments(image)[0].float()) - mean) / std

    def decode(self, latent: Tensor) -> Tensor:
        mean, std = self._stats()
        return self.decode_raw(unpatchify(latent.float() * std + mean))


def patchify(z: Tensor) -> Tensor:
    b, c, h, w = z.shape
    return z.view(b, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(b, 4 * c, h // 2, w // 2)


def unpatchify(z: Tensor) -> Tensor:
    b, c, h, w = z.shape
    return z.view(b, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(b, c // 4, 2 * h, 2 * w)


# --- sampling schedule ----------------------------------------------------------------------------------


def schedule(tokens: int, steps: int) -> list[float]:
    """FLUX.2's sigmas for an image of `tokens` latent tokens: steps + 1 values from 1 to 0."""
    a1, b1, a2, b2 = 8.73809524e-05, 1.89833333, 0.00016927, 0.45666666
    m200 = a2 * tokens + b2
    mu = m200
    if tokens <= 4300:
        slope = (m200 - (a1 * tokens + b1)) / 190.0
        mu = slope * steps + m200 - 200.0 * slope
    e = math.exp(mu)
    return [e / (e + steps / (steps - i) - 1) for i in range(steps)] + [0.0]
