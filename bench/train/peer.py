"""The peer: a PyTorch training loop as its users write it, eager, with a DataLoader of one worker over tokens on disk."""
import json
import os
import sys
import time

import numpy as np
import torch

import gpt


class Windows(torch.utils.data.Dataset):
    def __init__(self, path, seq):
        self.tokens, self.seq = np.memmap(path, '<u2', 'r'), seq

    def __len__(self):
        return (len(self.tokens) - 1) // self.seq

    def __getitem__(self, i):
        window = self.tokens[i * self.seq:(i + 1) * self.seq + 1].astype('<i8')
        return torch.from_numpy(window[:-1]), torch.from_numpy(window[1:])


class Peer:
    def open(self, config, optimizer, batch, tokens):
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        torch.manual_seed(0)
        self.model, self.settings = gpt.GPT(config), optimizer
        self.adamw = gpt.optimizer(self.model, optimizer, fused=True)
        self.schedule = gpt.schedule(self.adamw, optimizer)
        windows = Windows(tokens, config['seq'])
        # One epoch that no bench comes to the end of: starting workers anew between epochs is not what is compared.
        endless = torch.utils.data.RandomSampler(windows, num_samples=1_000_000)
        loader = torch.utils.data.DataLoader(windows, batch_size=batch, sampler=endless, num_workers=1, drop_last=True)
        self.batches = iter(loader)
        return {'runtime': f'PyTorch {torch.__version__} eager, {torch.get_num_threads()} threads'}

    def loop(self, steps, warm=4):
        for i in range(steps + warm):
            if i == warm:
                start = time.perf_counter()
            self.adamw.zero_grad(set_to_none=True)
            loss = self.model(*next(self.batches))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings['clip'], foreach=True)
            self.adamw.step()
            self.schedule.step()
            loss.item()
        return {'ms': (time.perf_counter() - start) * 1000 / steps}


peer = Peer()
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps(getattr(peer, request.pop('do'))(**request)), flush=True)
