"""Writes what transformers makes of every scaling of rotary positions: frequencies in f32, and what cosines and sines are multiplied by.

    python test/oracle/models/rope.py test/nn/golden/rotary-frequencies.json        with transformers 5.24.0 and torch 2.13.0
"""
import json
import sys

from transformers import LlamaConfig, Phi3Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.phi3.modeling_phi3 import Phi3RotaryEmbedding

short, long = [1.0, 1.05, 1.1, 1.3, 1.7, 2.5, 3.0, 4.5], [1.1, 1.4, 2.0, 3.5, 7.0, 15.0, 31.0, 60.5]
cases = [
    ({'size': 16, 'base': 10000, 'seq': 64}, {'rope_type': 'default'}, 64),
    ({'size': 8, 'base': 500000, 'seq': 64}, {'rope_type': 'default'}, 64),
    ({'size': 16, 'base': 10000, 'seq': 64, 'scaling': {'type': 'linear', 'factor': 2.5}}, {'rope_type': 'linear', 'factor': 2.5}, 64),
    *[({'size': 16, 'base': 10000, 'seq': seq, 'scaling': {'type': 'dynamic', 'factor': 3, 'original': 64}}, {'rope_type': 'dynamic', 'factor': 3.0}, 64) for seq in (32, 64, 65, 200)],
    *[({'size': 16, 'base': 10000, 'seq': 64, 'scaling': {'type': 'yarn', 'factor': 4, 'original': original, **ours}},
       {'rope_type': 'yarn', 'factor': 4.0, 'original_max_position_embeddings': original, **theirs}, 4 * original)
      for original, ours, theirs in (
          (64, {}, {}), (4096, {}, {}), (4096, {'truncate': False}, {'truncate': False}), (64, {'betaFast': 16, 'betaSlow': 2}, {'beta_fast': 16.0, 'beta_slow': 2.0}),
          (64, {'attentionFactor': 1.3}, {'attention_factor': 1.3}), (4096, {'mscale': 0.7, 'mscaleAllDim': 1.2}, {'mscale': 0.7, 'mscale_all_dim': 1.2}))],
    *[({'size': 16, 'base': 10000, 'seq': seq, 'scaling': {'type': 'longrope', 'factor': 8, 'original': 64, 'short': short, 'long': long, **ours}},
       {'rope_type': 'longrope', 'factor': 8.0, 'original_max_position_embeddings': 64, 'short_factor': short, 'long_factor': long, **theirs}, 512)
      for seq, ours, theirs in ((64, {}, {}), (65, {}, {}), (512, {'attentionFactor': 1.1}, {'attention_factor': 1.1}))],
    *[({'size': 16, 'base': 500000, 'seq': 64, 'scaling': {'type': 'llama3', 'factor': 8, 'original': original, 'low': 1, 'high': 4}},
       {'rope_type': 'llama3', 'factor': 8.0, 'original_max_position_embeddings': original, 'low_freq_factor': 1.0, 'high_freq_factor': 4.0}, 8 * original) for original in (64, 8192)],
]


def judged(ours, theirs, positions):
    config = LlamaConfig(hidden_size=2 * ours['size'], num_attention_heads=2, max_position_embeddings=positions, rope_parameters={'rope_theta': float(ours['base']), **theirs})
    if theirs['rope_type'] == 'default':
        phi = Phi3Config(hidden_size=2 * ours['size'], num_attention_heads=2, pad_token_id=0, rope_parameters={'rope_theta': float(ours['base']), **theirs})
        values, scale = Phi3RotaryEmbedding.compute_default_rope_parameters(phi)
    else:
        values, scale = ROPE_INIT_FUNCTIONS[theirs['rope_type']](config, seq_len=ours['seq'])
    return {'config': ours, 'values': [float(f'{x:.9g}') for x in values.tolist()], 'scale': scale}


with open(sys.argv[1], 'w') as f:
    f.write('[\n' + ',\n'.join(json.dumps(judged(*c), separators=(',', ':')) for c in cases) + '\n]\n')
