"""The peer on a mesh: the same training step in PyTorch, tensor parallel by DTensor, data parallel by DDP, a gloo process a device.
It speaks the same lines as ../peer.py; rank 0 answers."""
import json
import os
import pathlib
import sys
import tempfile
import time
import traceback
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import multiprocessing
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, loss_parallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

import gpt


class GPT(gpt.GPT):
    """Each process has its share of the heads, of the MLP's width and of the words."""
    def parallelize(self, mesh):
        self.mesh = mesh
        styles = {'tokens': RowwiseParallel(input_layouts=Replicate())}
        for i, block in enumerate(self.blocks):
            block.heads //= mesh.size()
            styles |= {f'blocks.{i}.qkv': ColwiseParallel(), f'blocks.{i}.out': RowwiseParallel(),
                       f'blocks.{i}.up': ColwiseParallel(), f'blocks.{i}.down': RowwiseParallel()}
        parallelize_module(self, mesh, styles)

    def forward(self, tokens, targets):
        x = self.tokens(tokens) + self.positions
        for block in self.blocks:
            x = block(x)
        logits = F.linear(DTensor.from_local(self.norm(x), self.mesh, [Replicate()], run_check=False), self.tokens.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def share_heads(model, parts):
    """Puts each process' rows of q, k and v together, so that a split in equal parts gives it whole heads."""
    for block in model.blocks:
        w = block.qkv.weight.data
        block.qkv.weight.data = w.view(3, parts, -1, w.shape[1]).transpose(0, 1).reshape(w.shape).contiguous()


class Trained:
    """What is trained a step at a time, each of them timed."""
    def steps(self, count):
        ms, losses = [], []
        for _ in range(count):
            start = time.perf_counter()
            losses.append(self.train())
            ms.append((time.perf_counter() - start) * 1000)
        return {'ms': ms, 'losses': losses}


class Rank(Trained):
    def open(self, task):
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // dist.get_world_size()))
        folder, c, shape = pathlib.Path(task['folder']), task['config'], task['mesh']
        self.mesh = init_device_mesh('cpu', (shape['batch'], shape['model']), mesh_dim_names=('batch', 'model'))
        entries = json.loads((folder / 'weights.json').read_text())
        weights = {e['name']: torch.from_numpy(np.fromfile(folder / e['file'], e['dtype']).reshape(e['shape'])) for e in entries}
        self.optimizer, self.step = task['optimizer'], 0
        self.batches = [self.batch(folder / f'batch.{i}', task['batch'], c['seq']) for i in range(task['batches'])]
        model = GPT(c)
        gpt.load(model, weights)
        share_heads(model, shape['model'])
        model.parallelize(self.mesh['model'])
        # What is split, and so has only a part of its gradient's norm here.
        split = {name for name, p in model.named_parameters() if isinstance(p, DTensor) and p.placements[0].is_shard()}
        self.model = DistributedDataParallel(model, device_mesh=self.mesh['batch'], gradient_as_bucket_view=True)
        named = [(name.removeprefix('module.'), p) for name, p in self.model.named_parameters()]
        self.split, self.whole = [p for n, p in named if n in split], [p for n, p in named if n not in split]
        self.adamw = gpt.optimizer(self.model, self.optimizer, fused=True)
        self.schedule = gpt.schedule(self.adamw, self.optimizer)
        processes = f'{dist.get_world_size()} gloo processes, threads each: {torch.get_num_threads()}'
        return {'runtime': f'PyTorch {torch.__version__} DTensor + DDP, {processes}'}

    def batch(self, file, batch, seq):
        pair = torch.from_numpy(np.fromfile(file, '<i4').reshape(2, batch, seq)).long()
        return tuple(x.chunk(self.mesh['batch'].size())[self.mesh['batch'].get_local_rank()].contiguous() for x in pair)

    def clip(self):
        norm = lambda of: torch.nn.utils.get_total_norm([p.grad for p in of], foreach=True)
        square = norm(self.split) ** 2
        dist.all_reduce(square, group=self.mesh['model'].get_group())
        total = (square + norm(self.whole) ** 2).sqrt()
        torch.nn.utils.clip_grads_with_norm_(self.split + self.whole, self.optimizer['clip'], total, foreach=True)

    def train(self):
        self.adamw.zero_grad(set_to_none=True)
        with loss_parallel():
            loss = self.model(*self.batches[self.step % len(self.batches)])
            loss.backward()
        self.clip()
        self.adamw.step()
        self.schedule.step()
        self.step += 1
        total = loss.detach().to_local()
        dist.all_reduce(total, group=self.mesh['batch'].get_group())
        return total.item() / self.mesh['batch'].size()

    def close(self):
        return {'liveBuffers': 0}


def work(kind, index, size, store, requests):
    os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')
    dist.init_process_group('gloo', store=dist.FileStore(store, size), rank=index, world_size=size, timeout=timedelta(minutes=5))
    rank = kind()
    try:
        for request in iter(requests.recv, None):
            requests.send(getattr(rank, request.pop('do'))(**request))
    except EOFError:
        os._exit(0)
    except Exception:
        # Without taking leave: another rank may wait in a collective.
        traceback.print_exc()
        os._exit(1)
    dist.destroy_process_group()


def start(kind, size, store):
    """A process a device, each with our end of a pipe to it."""
    context, ranks = multiprocessing.get_context('spawn'), []
    for index in range(size):
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(kind, index, size, store, theirs), daemon=True)
        process.start()
        theirs.close()
        ranks.append((process, ours))
    return ranks


def main(kind, size_of):
    """Serves requests by objects of a kind, one in each process, of which the first request says how many."""
    ranks = []
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            request = json.loads(line)
            ranks = ranks or start(kind, size_of(request), f'{folder}/store')
            for _, pipe in ranks:
                pipe.send(request)
            # A rank that has died closes its pipe: this fails, and the others end with us.
            answers = [pipe.recv() for _, pipe in ranks]
            print(json.dumps(answers[0]), flush=True)
        for process, pipe in ranks:
            pipe.send(None)
            process.join()


if __name__ == '__main__':
    main(Rank, lambda request: request['task']['mesh']['batch'] * request['task']['mesh']['model'])
