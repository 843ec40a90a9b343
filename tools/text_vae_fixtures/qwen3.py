"""Small random Qwen3 models with transformers' own outputs, and prompts through diffusers' FLUX.2 Klein pipeline."""

import copy
import json

import torch
from diffusers.pipelines.flux2.pipeline_flux2_klein import Flux2KleinPipeline
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

# What Qwen3's template renders for user messages and a generation prompt; tools and answers left out.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)

PROMPTS = [
    "a red circle left of a blue square",
    "",
    "Größe: 3 Möwen über dem Meer, 日本語 too 🐦",
    "  spaces around  \n\tand tabs\n",
    "an <|im_end|> inside",
    "it's the dog's <think> block",
    "word " * 700,
]


def random_model(seed, embedding_scale=1.0, **sizes):
    """Weights in bfloat16, so that the files are small; gains that keep attention far from flat.

    A small embedding scale makes the norms' epsilon matter.
    """
    torch.manual_seed(seed)
    config = Qwen3Config(max_position_embeddings=2048, initializer_range=0.02, **sizes)
    model = Qwen3ForCausalLM(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith(("q_norm.weight", "k_norm.weight")):
                p.copy_(1.6 + 0.5 * torch.randn_like(p))
            elif p.ndim == 1:
                p.copy_(1.0 + 0.4 * torch.randn_like(p))
            elif "embed_tokens" in name:
                p.copy_(torch.randn_like(p) * embedding_scale)
            else:
                p.copy_(torch.randn_like(p) * p.shape[1] ** -0.5)
            p.copy_(p.to(torch.bfloat16).float())
    return model


def save(model, folder, **options):
    # A copy, because the rope frequencies would be rounded along with the weights.
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(folder, **options)
    (folder / "generation_config.json").unlink(missing_ok=True)


CASES = {
    # name: (sizes, sequence lengths of the batch, padding side)
    "tied_gqa": (dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
                      num_key_value_heads=2, head_dim=16, tie_word_embeddings=True), (11, 6), "right"),
    "untied_one_kv": (dict(vocab_size=80, hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=3,
                           num_key_value_heads=1, head_dim=16, tie_word_embeddings=False, rms_norm_eps=1e-5, embedding_scale=0.02,
                           rope_parameters={"rope_type": "default", "rope_theta": 5e6}), (9,), "right"),
    "untied_sharded": (dict(vocab_size=64, hidden_size=32, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4,
                            num_key_value_heads=4, head_dim=8, tie_word_embeddings=False,
                            rope_parameters={"rope_type": "default", "rope_theta": 1e4}), (5, 13, 8), "right"),
    "left_padded": (dict(vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2,
                         num_key_value_heads=1, head_dim=8, tie_word_embeddings=True), (4, 7), "left"),
}


def write_case(folder, seed, sizes, lengths, side):
    model = random_model(seed, **sizes)
    save(model, folder, max_shard_size="12KB" if "sharded" in folder.name else "1GB")
    total = max(lengths)
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, sizes["vocab_size"], (len(lengths), total), generator=generator)
    position = torch.arange(total)
    rows = [position < n if side == "right" else position >= total - n for n in lengths]
    mask = torch.stack(rows).long()
    with torch.no_grad():
        out = model(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False)
    tensors = {"input_ids": ids, "attention_mask": mask, "logits": out.logits}
    tensors |= {f"hidden.{i}": h for i, h in enumerate(out.hidden_states)}
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder.parent / f"{folder.name}.safetensors")


def write_encoder(folder, tokenizer_file):
    """A diffusers-like folder: text_encoder/ with 28 layers, tokenizer/."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer_file), pad_token="<|endoftext|>", padding_side="right")
    tokenizer.chat_template = CHAT_TEMPLATE
    model = random_model(5, vocab_size=len(tokenizer), hidden_size=16, intermediate_size=24, num_hidden_layers=28,
                         num_attention_heads=2, num_key_value_heads=1, head_dim=8, tie_word_embeddings=True)
    with torch.no_grad():  # 28 random layers: keep the stream from drowning in its own sum
        for name, p in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                p.copy_((p * 0.5).to(torch.bfloat16).float())
    save(model, folder / "text_encoder")
    (folder / "tokenizer").mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer" / "tokenizer.json").write_text(tokenizer_file.read_text())
    (folder / "tokenizer" / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<|endoftext|>", "padding_side": "right",
                    "chat_template": CHAT_TEMPLATE}, indent=1) + "\n"
    )
    cases = []
    for prompt in PROMPTS:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        encoded = tokenizer(text, padding="max_length", truncation=True, max_length=512)
        used = sum(encoded["attention_mask"])
        cases.append({"prompt": prompt, "text": text, "ids": encoded["input_ids"][:used], "pad": tokenizer.pad_token_id})
    (folder / "prompts.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")

    tensors = {}
    with torch.no_grad():
        embeds = Flux2KleinPipeline._get_qwen3_prompt_embeds(model, tokenizer, PROMPTS[:3])
        tensors["through_encoder.0"] = embeds[0]
        tensors["through_encoder.2.tail"] = embeds[2, 480:]
        # ComfyUI's layout before the zeros: the bare prompt.
        ids = torch.tensor([cases[0]["ids"]])
        hidden = model(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states
        tensors["after_encoder.0"] = torch.cat([hidden[k] for k in (9, 18, 27)], dim=-1)[0]
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "embeds.safetensors")


def write(folder, tokenizer_file):
    for seed, (name, (sizes, lengths, side)) in enumerate(CASES.items(), start=1):
        (folder / name).mkdir(parents=True, exist_ok=True)
        write_case(folder / name, seed, sizes, lengths, side)
    write_encoder(folder / "encoder", tokenizer_file)
