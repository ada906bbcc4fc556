"""The peer: the same training step in eager PyTorch, one request a line on stdin, one answer a line on stdout."""
import json
import os
import pathlib
import sys
import time

import numpy as np
import torch

import gpt


class Peer:
    def open(self, task):
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        folder, c = pathlib.Path(task['folder']), task['config']
        entries = json.loads((folder / 'weights.json').read_text())
        weights = {e['name']: torch.from_numpy(np.fromfile(folder / e['file'], e['dtype']).reshape(e['shape'])) for e in entries}
        self.optimizer, self.step = task['optimizer'], 0
        self.batches = [self.batch(folder / f'batch.{i}', task['batch'], c['seq']) for i in range(task['batches'])]
        self.model = gpt.GPT(c)
        gpt.load(self.model, weights)
        # Fused: one pass over each parameter, the fastest that eager PyTorch has.
        self.adamw = gpt.optimizer(self.model, self.optimizer, fused=True)
        self.schedule = gpt.schedule(self.adamw, self.optimizer)
        return {'runtime': f'PyTorch {torch.__version__} eager, {torch.get_num_threads()} threads'}

    @staticmethod
    def batch(file, batch, seq):
        tokens, targets = np.fromfile(file, '<i4').reshape(2, batch, seq)
        return torch.from_numpy(tokens).long(), torch.from_numpy(targets).long()

    def steps(self, count):
        ms, losses = [], []
        for _ in range(count):
            start = time.perf_counter()
            self.adamw.zero_grad(set_to_none=True)
            loss = self.model(*self.batches[self.step % len(self.batches)])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.optimizer['clip'], foreach=True)
            self.adamw.step()
            self.schedule.step()
            losses.append(loss.item())
            ms.append((time.perf_counter() - start) * 1000)
            self.step += 1
        return {'ms': ms, 'losses': losses}

    def close(self):
        return {'liveBuffers': 0}


peer = Peer()
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps(getattr(peer, request.pop('do'))(**request)), flush=True)
