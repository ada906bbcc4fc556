"""How a case is judged: a small model of transformers with seeded weights, what it makes of some inputs, and its gradients, as files that test/oracle/models.ts reads.

A file of cases has functions decorated with @case, each returning what `judged` needs; main.py runs those that are named, or all.
"""
import json
import os
import warnings

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file

warnings.filterwarnings('ignore')
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
cases = {}


def case(f):
    """Registers a function as a case of its own name, `_` written as `-`."""
    cases[f.__name__.replace('_', '-')] = f
    return f


def seeded(model, seed=1, spread=0.4):
    """Weights that are drawn, and none of them special: norms about their usual value, biases not 0."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            # Of gains, about what they are at first.
            p.copy_((p if p.dim() == 1 and 'bias' not in name else 0) + (torch.rand(p.shape, generator=g) * 2 - 1) * spread)
    return model.eval()


def ids(*shape, below, seed=2):
    return torch.randint(0, below, shape, generator=torch.Generator().manual_seed(seed))


def write(folder, name, found):
    """`model`, `inputs` by the names that our batch has for them, `outputs`, and `loss`, whose gradients are kept by the names of the weights' file."""
    model, inputs, outputs, loss = (found[k] for k in ('model', 'inputs', 'outputs', 'loss'))
    at = os.path.join(folder, name)
    model.save_pretrained(at)
    loss.backward()
    stored = {}
    with safe_open(os.path.join(at, 'model.safetensors'), 'pt') as f:
        kept = set(f.keys())
    for n, p in model.named_parameters():
        if n in kept:
            stored[f'gradient.{n}'] = torch.zeros_like(p) if p.grad is None else p.grad
    missing = kept - {n for n, _ in model.named_parameters()} - {n for n, _ in model.named_buffers()}
    if missing:
        raise SystemExit(f'{name}: no gradients of {sorted(missing)}')
    for n, x in {**{f'input.{k}': v for k, v in inputs.items()}, **{f'output.{k}': v for k, v in outputs.items()}, 'output.loss': loss.reshape(1)}.items():
        stored[n] = (x.int() if not x.is_floating_point() else x).detach()
    save_file({n: x.contiguous() for n, x in stored.items()}, os.path.join(at, 'expected.safetensors'))
    with open(os.path.join(at, 'case.json'), 'w') as f:
        json.dump(found.get('settings', {}), f)
    for extra in ('generation_config.json',):
        if os.path.exists(os.path.join(at, extra)):
            os.remove(os.path.join(at, extra))
