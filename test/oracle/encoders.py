"""Writes test/models/fixtures/*.json: what transformers makes, in f64, of the cases of models/encoders.py: logits, loss and gradients; and T5's buckets.

    python test/oracle/encoders.py test/models/fixtures        with transformers 5.24.0 and torch 2.13.0

Weights are those of the files that transformers writes, gradients lie under the same names.
"""
import json
import os
import sys

import torch
import transformers as hf

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'models'))
torch.set_default_dtype(torch.float64)
from harness import cases, stored, gradients  # noqa: E402
import encoders  # noqa: E402

out = sys.argv[1]


def numbers(t, digits=11):
    return [float(f'{x:.{digits}g}') for x in t.detach().double().reshape(-1).tolist()]


def write(name, found):
    weights, config = stored(found['model'])
    found['loss'].backward()
    with open(f'{out}/{name}.json', 'w') as f:
        json.dump({
            'config': config, 'seq': found['settings']['seq'], 'options': found['settings'].get('options', {}), 'weights': {k: {'shape': list(v.shape), 'data': numbers(v)} for k, v in weights.items()},
            'given': {k: {'shape': list(v.shape), 'data': [int(x) for x in v.reshape(-1).tolist()]} for k, v in found['inputs'].items()},
            'results': {k: numbers(v) for k, v in {**found['outputs'], 'loss': found['loss']}.items()}, 'gradients': {k: numbers(v, 8) for k, v in gradients(found['model']).items()},
        }, f, separators=(',', ':'))
        f.write('\n')


for name in [n for n, make in cases.items() if make.__module__ == 'encoders']:
    write(name, cases[name]())
model, given, compute, settings = encoders.in_training()
# As they are before.
before = {k: v.clone() for k, v in model.named_buffers()}
results = compute(model)
loss = results.pop('loss')
for k, v in model.named_buffers():
    v.data = before[k]
write('resnet-training', {'model': model, 'inputs': given, 'outputs': results, 'loss': loss, 'settings': settings})

bucket = hf.models.t5.modeling_t5.T5Attention._relative_position_bucket
found = [{'count': n, 'farthest': far, 'bothWays': both, 'buckets': bucket(torch.arange(-far - 3, far + 4), both, n, far).tolist()}
         for n, far in ((32, 128), (32, 20), (8, 9), (12, 37)) for both in (False, True)]
with open(f'{out}/t5-buckets.json', 'w') as f:
    json.dump(found, f, separators=(',', ':'))
    f.write('\n')
