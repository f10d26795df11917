"""What kind of model a version holds: its configuration, adapters, tokenizer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mvc.formats import Value
from mvc.registry.card.contents import Contents

MAX_TEXT = 200
"""Characters of a text that the card takes over from a file."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A model as a file describes it: ``name`` (``LlamaForCausalLM``), ``kind`` (``llama``), and the settings
    that tell its size, under the names that the file gives them (ONNX: producer, opset, nodes)."""

    source: str
    name: str | None
    kind: str | None
    settings: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Adapter:
    """Weights that change a base model. ``alpha``, ``targets`` and ``base`` are None or empty where only the
    tensors tell of it."""

    source: str
    kind: str
    rank: int | None
    alpha: float | None
    targets: tuple[str, ...]
    base: str | None


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Files that turn text into numbers, and what they say of it; ``vocabulary`` counts tokens."""

    kind: str | None
    files: tuple[str, ...]
    vocabulary: int | None = None


_SIZES = (
    "hidden_size d_model n_embd dim embed_dim num_hidden_layers n_layer n_layers num_layers depth "
    "num_attention_heads n_head n_heads num_heads num_key_value_heads n_kv_heads intermediate_size d_ff "
    "ffn_dim head_dim num_experts num_local_experts num_experts_per_tok vocab_size "
    "max_position_embeddings n_positions n_ctx context_length image_size patch_size num_labels "
    "in_channels out_channels sample_size torch_dtype dtype tie_word_embeddings"
)
SETTINGS = tuple(_SIZES.split())
"""Settings of a configuration that the card shows."""

_INNER = ("text_config", "llm_config", "language_config", "model", "backbone_config", "vision_config")
_TOKENIZER_FILES = frozenset(
    {
        "tokenizer.json",
        "tokenizer_config.json",
        "tokenizer.model",
        "tokenizer.vocab",
        "vocab.json",
        "vocab.txt",
        "vocab.bpe",
        "merges.txt",
        "spiece.model",
        "sentencepiece.bpe.model",
        "tekken.json",
        "qwen.tiktoken",
    }
)
_LANGUAGE = re.compile(
    r"(?:causallm|lmhead|maskedlm|seq2seqlm|conditionalgeneration|pretraining|sequenceclassification"
    r"|tokenclassification|questionanswering)",
    re.IGNORECASE,
)
_EMBEDDINGS = frozenset({"embed_tokens", "wte", "token_embd", "word_embeddings", "lm_head", "tok_embeddings"})
_BLOCKS = re.compile(r"(?:^|\.)(?:model\.layers\.[0-9]+\.self_attn|transformer\.h\.[0-9]+)\.")
"""What models of the families of Llama and GPT-2 call their layers."""


def architectures_of(contents: Contents) -> Iterator[Architecture]:
    """Every description of a model, by path."""
    for file in contents.files.values():
        found = None
        if file.name in ("config.json", "model_index.json", "params.json", "open_clip_config.json"):
            found = _of_config(file.path, contents.mapping(file))
        elif file.manifest.format == "gguf":
            found = _of_gguf(file.path, contents.values(file))
        elif file.manifest.format == "onnx":
            found = _of_onnx(file.path, contents.values(file))
        elif file.manifest.tensors and file.role is None:
            found = _of_values(file.path, contents.values(file))
        if found is not None:
            yield found


def _of_config(path: str, config: Mapping[str, Any]) -> Architecture | None:
    listed = config.get("architectures")
    name = listed[0] if isinstance(listed, list) and listed else None
    for key in ("_class_name", "class_name", "architecture", "arch", "model_name"):
        name = name if isinstance(name, str) else config.get(key)
    kind = config.get("model_type")
    settings = _settings(config)
    if not isinstance(name, str) and not isinstance(kind, str) and not settings:
        return None
    return Architecture(path, _short(name), _short(kind), settings)


def _settings(config: Mapping[str, Any]) -> dict[str, Value]:
    places = [config, *(inner for key in _INNER if isinstance(inner := config.get(key), dict))]
    found: dict[str, Value] = {}
    for key in SETTINGS:
        for place in places:
            value = place.get(key)
            if isinstance(value, str):
                value = _short(value)
            if value is not None and isinstance(value, str | int | float):
                found.setdefault(key, value)
    return found


def _of_gguf(path: str, values: Mapping[str, Value]) -> Architecture:
    kind = values.get("general.architecture")
    prefix = f"{kind}."
    wanted = (
        "block_count embedding_length feed_forward_length attention.head_count attention.head_count_kv"
        " context_length expert_count vocab_size"
    )
    settings = {key: values[prefix + key] for key in wanted.split() if prefix + key in values}
    return Architecture(path, _short(values.get("general.name")), _short(kind), settings)


def _of_onnx(path: str, values: Mapping[str, Value]) -> Architecture:
    keys = {
        "producer_name": "producer",
        "producer_version": "producer_version",
        "opset_import.ai.onnx": "opset",
        "graph.nodes.#": "nodes",
    }
    settings = {name: values[key] for key, name in keys.items() if values.get(key) not in (None, "")}
    return Architecture(path, _short(values.get("graph.name")), "onnx", settings)


_CLASS_NAMES = ("config.class_name", "model_config.class_name")  # Keras 3, and Keras in HDF5
_MODEL_NAMES = (
    "arch",
    "architecture",
    "model_name",
    "args.arch",
    "hyper_parameters.arch",
    "general.architecture",
)


def _of_values(path: str, values: Mapping[str, Value]) -> Architecture | None:
    """What a checkpoint says of the model in it."""
    for key in _CLASS_NAMES:
        if isinstance(values.get(key), str):
            inner = key.removesuffix("class_name") + "config.name"
            return Architecture(path, _short(values.get(inner)), f"keras {_short(values[key])}", {})
    for key in _MODEL_NAMES:
        if isinstance(values.get(key), str) and values[key]:
            return Architecture(path, _short(values[key]), None, {})
    return None


def _short(value: object) -> str | None:
    if not isinstance(value, str) or not value:
        return None
    return value if len(value) <= MAX_TEXT else value[: MAX_TEXT - 1] + "…"


# --- adapters ----------------------------------------------------------------------------------------------
def adapters_of(contents: Contents) -> Iterator[Adapter]:
    """Every adapter, by path: with its configuration, or told from its tensors."""
    described: set[str] = set()
    for file in contents.named("adapter_config.json"):
        config = contents.mapping(file)
        if config:
            described.add(file.folder)
            yield _adapter(file.path, config)
    for file in contents.files.values():
        if file.folder not in described:
            ranks = {
                min(span.shape)
                for span in file.manifest.tensors
                if "lora_a" in span.name.lower() and len(span.shape) == 2
            }
            if ranks:
                yield Adapter(file.path, "LORA", max(ranks), None, (), None)


def _adapter(path: str, config: Mapping[str, Any]) -> Adapter:
    targets = config.get("target_modules")
    if isinstance(targets, str):
        targets = [targets]
    names = [_short(item) for item in targets[:64]] if isinstance(targets, list) else []
    rank, alpha = config.get("r"), config.get("lora_alpha")
    return Adapter(
        source=path,
        kind=_short(config.get("peft_type")) or "adapter",
        rank=rank if type(rank) is int else None,
        alpha=alpha if type(alpha) in (int, float) else None,
        targets=tuple(sorted(name for name in names if name)),
        base=_short(config.get("base_model_name_or_path")),
    )


# --- language ----------------------------------------------------------------------------------------------
def tokenizer_of(contents: Contents) -> Tokenizer | None:
    """The tokenizer's files, wherever they lie, or the one inside of a GGUF file."""
    files = [path for path in contents.paths if path.rpartition("/")[2] in _TOKENIZER_FILES]
    kind = None
    for file in contents.named("tokenizer_config.json"):
        kind = kind or _short(contents.mapping(file).get("tokenizer_class"))
    if files:
        return Tokenizer(kind, tuple(sorted(files)))
    for file in contents.files.values():
        if file.manifest.format == "gguf":
            values = contents.values(file)
            kind, count = _short(values.get("tokenizer.ggml.model")), values.get("tokenizer.ggml.tokens.#")
            if kind is not None:
                return Tokenizer(kind, (file.path,), count if type(count) is int else None)
    return None


def reads_text(contents: Contents, architectures: tuple[Architecture, ...]) -> bool:
    """Whether the model is of language, so that it is useless without a tokenizer."""
    for found in architectures:
        if "vocab_size" in found.settings or _LANGUAGE.search(found.name or ""):
            return True
    return any(
        not _EMBEDDINGS.isdisjoint(span.name.split(".")) or _BLOCKS.search(span.name)
        for file in contents.files.values()
        for span in file.tensors("weight")
    )
