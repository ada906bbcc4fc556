"""How a case is judged: a small model of transformers with seeded weights, what it makes of some inputs, and its gradients, as files that test/oracle/models.ts reads.

A file of cases has functions decorated with @case, each returning what `judged` needs; main.py runs those that are named, or all.
"""
import copy
import json
import os
import tempfile
import warnings

import torch
import transformers
from safetensors.torch import load_file, save_file

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


def stored(model):
    """What a model's file holds of floats, by its names there, and its configuration."""
    with tempfile.TemporaryDirectory() as at:
        model.save_pretrained(at)
        with open(os.path.join(at, 'config.json')) as f:
            return {n: x for n, x in load_file(os.path.join(at, 'model.safetensors')).items() if x.is_floating_point()}, json.load(f)


def gradients(model):
    """By the names of the file, which a model may have others for: as the weights of a twin. Of what is no parameter they are 0."""
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for p, q in zip(twin.parameters(), model.parameters()):
            p.copy_(torch.zeros_like(q) if q.grad is None else q.grad)
        for b in twin.buffers():
            b.zero_()
    return stored(twin)[0]


def write(folder, name, found):
    """`model`, `inputs` by the names that our batch has for them, `outputs`, and `loss`, whose gradients are kept by the names of the weights' file.

    `others` is a function, called once there are gradients, of tensors that are kept as they are; where nothing of the model is trained no gradients of it are kept.
    """
    model, inputs, outputs, loss = (found[k] for k in ('model', 'inputs', 'outputs', 'loss'))
    at = os.path.join(folder, name)
    model.save_pretrained(at)
    loss.backward()
    trained = any(p.requires_grad for p in model.parameters())
    stored = {f'gradient.{n}': g for n, g in gradients(model).items()} if trained else {}
    for n, x in {**found.get('others', dict)(), **{f'input.{k}': v for k, v in inputs.items()}, **{f'output.{k}': v for k, v in outputs.items()}, 'output.loss': loss.reshape(1)}.items():
        stored[n] = (x.int() if not x.is_floating_point() else x).detach()
    save_file({n: x.contiguous() for n, x in stored.items()}, os.path.join(at, 'expected.safetensors'))
    with open(os.path.join(at, 'case.json'), 'w') as f:
        json.dump(found.get('settings', {}), f)
    for extra in ('generation_config.json',):
        if os.path.exists(os.path.join(at, extra)):
            os.remove(os.path.join(at, extra))
