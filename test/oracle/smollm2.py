"""SmolLM2's real weights: what an independent forward makes of them. The GGUF file is read and its blocks are decoded here, with NumPy alone.

    python test/oracle/smollm2.py FILE.gguf FOLDER        with transformers 5.24.0 and torch 2.13.0; FOLDER has ids.json, rows of token ids, and gets logprobs.json,
    of each token but a row's first, and likeliest.json, of the same places the likeliest token and its log-probability
"""
import json
import os
import struct
import sys

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

path, folder = sys.argv[1:]
data = np.memmap(path, dtype=np.uint8, mode='r')
at = 0


def take(form):
    global at
    values = struct.unpack_from('<' + form, data, at)
    at += struct.calcsize('<' + form)
    return values[0]


def text():
    global at
    length = take('Q')
    at += length
    return bytes(data[at - length:at]).decode()


forms = {0: 'B', 1: 'b', 2: 'H', 3: 'h', 4: 'I', 5: 'i', 6: 'f', 7: '?', 10: 'Q', 11: 'q', 12: 'd'}


def value(kind):
    if kind == 8:
        return text()
    if kind == 9:
        of, count = take('I'), take('Q')
        return [value(of) for _ in range(count)]
    return take(forms[kind])


assert bytes(data[:4]) == b'GGUF'
at = 4
version, tensors, values = take('I'), take('Q'), take('Q')
assert version == 3, version
metadata = {}
for _ in range(values):
    key = text()
    metadata[key] = value(take('I'))
entries = []
for _ in range(tensors):
    name, axes = text(), take('I')
    entries.append((name, [take('Q') for _ in range(axes)][::-1], take('I'), take('Q')))
alignment = metadata.get('general.alignment', 32)
start = -(-at // alignment) * alignment


def decoded(shape, kind, offset):
    """Of the types that the file has: F32, Q4_1 (scale, least, 32 halves of bytes) and Q8_0 (scale, 32 bytes)."""
    count = int(np.prod(shape))
    if kind == 0:
        return np.frombuffer(data[start + offset:start + offset + 4 * count].tobytes(), '<f4').reshape(shape)
    size = {3: 20, 8: 34}[kind]
    blocks = np.frombuffer(data[start + offset:start + offset + count // 32 * size].tobytes(), np.uint8).reshape(-1, size)
    scale = blocks[:, :2].copy().view('<f2').astype(np.float32)
    if kind == 8:
        return (blocks[:, 2:].view(np.int8).astype(np.float32) * scale).reshape(shape)
    least = blocks[:, 2:4].copy().view('<f2').astype(np.float32)
    numbers = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], 1).astype(np.float32)
    return (numbers * scale + least).reshape(shape)


of = lambda key: metadata[f'llama.{key}']
heads, kv, width, layers = of('attention.head_count'), of('attention.head_count_kv'), of('embedding_length'), of('block_count')
config = LlamaConfig(
    vocab_size=49152, hidden_size=width, intermediate_size=of('feed_forward_length'), num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv, head_dim=width // heads,
    max_position_embeddings=of('context_length'), rms_norm_eps=of('attention.layer_norm_rms_epsilon'), rope_parameters={'rope_type': 'default', 'rope_theta': of('rope.freq_base')}, tie_word_embeddings=True)
config._attn_implementation = 'eager'
names = {'token_embd': 'model.embed_tokens', 'output_norm': 'model.norm'}
within = {'attn_norm': 'input_layernorm', 'ffn_norm': 'post_attention_layernorm', 'attn_q': 'self_attn.q_proj', 'attn_k': 'self_attn.k_proj', 'attn_v': 'self_attn.v_proj', 'attn_output': 'self_attn.o_proj',
          'ffn_gate': 'mlp.gate_proj', 'ffn_up': 'mlp.up_proj', 'ffn_down': 'mlp.down_proj'}
state = {}
for name, shape, kind, offset in entries:
    stem = name.removesuffix('.weight')
    weight = decoded(shape, kind, offset)
    if stem.startswith('blk.'):
        _, layer, own = stem.split('.')
        # llama.cpp has the two halves of a head that are turned together side by side.
        count = {'attn_q': heads, 'attn_k': kv}.get(own)
        if count is not None:
            weight = weight.reshape(count, -1, 2, width).swapaxes(1, 2).reshape(weight.shape)
        state[f'model.layers.{layer}.{within[own]}.weight'] = torch.from_numpy(np.ascontiguousarray(weight))
    else:
        state[f'{names[stem]}.weight'] = torch.from_numpy(np.ascontiguousarray(weight))
model = LlamaForCausalLM(config)
left = model.load_state_dict(state, strict=False)
assert left.missing_keys == ['lm_head.weight'] and not left.unexpected_keys, left
model.tie_weights()
model.eval()
found, likeliest = [], []
with torch.no_grad():
    for row in json.load(open(os.path.join(folder, 'ids.json'))):
        ids = torch.tensor([row])
        logits = model(input_ids=ids).logits[0, :-1]
        best = logits.max(-1)
        likeliest.append([best.indices.tolist(), (best.values - logits.logsumexp(-1)).tolist()])
        found.append((logits.gather(1, ids[0, 1:, None])[:, 0] - logits.logsumexp(-1)).tolist())
json.dump(found, open(os.path.join(folder, 'logprobs.json'), 'w'))
json.dump(likeliest, open(os.path.join(folder, 'likeliest.json'), 'w'))
