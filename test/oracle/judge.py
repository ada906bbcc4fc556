"""Loss, gradients and a few training steps in PyTorch, in f32 and in f64, from the weights and tokens that a folder holds."""
import json
import pathlib
import sys

import numpy as np
import torch

import gpt


def main(folder):
    task = json.loads((folder / 'task.json').read_text())
    arrays = {a['name']: torch.from_numpy(np.fromfile(folder / a['file'], a['dtype']).reshape(a['shape'])) for a in task['arrays']}
    weights = {name.removeprefix('weights.'): x for name, x in arrays.items() if name.startswith('weights.')}
    batches = [(arrays[f'tokens.{i}'].long(), arrays[f'targets.{i}'].long()) for i in range(task['steps'])]
    written = []

    def write(name, x):
        x = x.detach().double().contiguous().numpy()
        written.append({'name': name, 'file': f'out.{name}', 'dtype': '<f8', 'shape': list(x.shape)})
        x.tofile(folder / f'out.{name}')

    numbers = {}
    for precision, dtype in (('f32', torch.float32), ('f64', torch.float64)):
        # Strict: a weight that is forgotten stays NaN and spoils every number.
        model = gpt.GPT(task['config']).to(dtype)
        for p in model.parameters():
            torch.nn.init.constant_(p, float('nan'))
        gpt.load(model, weights)
        loss = model(*batches[0])
        loss.backward()
        for name, x in gpt.unload(model, lambda p: p.grad).items():
            write(f'{precision}.grad.{name}', x)

        o = task['optimizer']
        adamw = gpt.optimizer(model, o, fused=False)
        schedule = gpt.schedule(adamw, o)
        norms, losses = [], []
        for tokens, targets in batches:
            adamw.zero_grad()
            step_loss = model(tokens, targets)
            step_loss.backward()
            norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), o['clip']).item())
            losses.append(step_loss.item())
            adamw.step()
            schedule.step()
        for name, x in gpt.unload(model, lambda p: p).items():
            write(f'{precision}.trained.{name}', x)
        numbers[precision] = {'loss': loss.item(), 'losses': losses, 'norms': norms}
    (folder / 'judgement.json').write_text(json.dumps({'arrays': written, 'numbers': numbers}))


main(pathlib.Path(sys.argv[1]))
