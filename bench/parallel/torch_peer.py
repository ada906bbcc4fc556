"""The peer on four gloo processes: the same step by DDP, FSDP2 or DTensor, as PyTorch has them. It speaks the same lines as ../tiny/peer.py; rank 0 answers."""
import json
import pathlib

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, SequenceParallel, loss_parallel, parallelize_module
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

import gpt
import peer


class Sequences(peer.GPT):
    """Tensor parallel, and between layers each process has its part of every sequence (Korthikanti et al. 2022)."""
    def parallelize(self, mesh):
        self.mesh = mesh
        styles = {'tokens': RowwiseParallel(input_layouts=Replicate(), output_layouts=Shard(1)), 'norm': SequenceParallel()}
        for i, block in enumerate(self.blocks):
            block.heads //= mesh.size()
            styles |= {f'blocks.{i}.norm1': SequenceParallel(), f'blocks.{i}.norm2': SequenceParallel()}
            styles |= {f'blocks.{i}.{name}': ColwiseParallel(input_layouts=Shard(1)) for name in ('qkv', 'up')}
            styles |= {f'blocks.{i}.{name}': RowwiseParallel(output_layouts=Shard(1)) for name in ('out', 'down')}
        parallelize_module(self, mesh, styles)
        self.positions = torch.nn.Parameter(distribute_tensor(self.positions.detach(), mesh, [Shard(0)]))

    def forward(self, tokens, targets):
        x = self.tokens(tokens) + self.positions.to_local()
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x).redistribute(placements=[Replicate()]), self.tokens.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Stage(torch.nn.Module):
    """Layers of one process of a pipeline; the embedding on the first, and the head, which is tied to it, on the last."""
    def __init__(self, model, index, count):
        super().__init__()
        each = len(model.blocks) // count
        self.blocks, self.first, self.last = model.blocks[index * each:(index + 1) * each], index == 0, index == count - 1
        if self.first or self.last:
            self.tokens = model.tokens
        if self.first:
            self.positions = model.positions
        if self.last:
            self.norm = model.norm

    def forward(self, x):
        if self.first:
            x = self.tokens(x) + self.positions
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.tokens.weight) if self.last else x


def adamw(params, o):
    """As gpt.optimizer; the fused one does not take DTensors and others together."""
    kinds = [[p for p in params if (p.dim() >= 2) == decays and isinstance(p, DTensor) == parts] for decays in (True, False) for parts in (True, False)]
    groups = [{'params': of, 'weight_decay': o['weightDecay'] if of[0].dim() >= 2 else 0.0} for of in kinds if of]
    return torch.optim.AdamW(groups, lr=o['rate'], betas=(o['beta1'], o['beta2']), eps=o['epsilon'], fused=True)


class Rank(peer.Trained):
    def open(self, form, config, experts, batch, batches, optimizer, folder):
        torch.set_num_threads(1)
        folder, axes = pathlib.Path(folder), form['mesh']
        self.mesh = init_device_mesh('cpu', tuple(axes.values()), mesh_dim_names=tuple(axes))
        entries = json.loads((folder / 'weights.json').read_text())
        weights = {e['name']: torch.from_numpy(np.fromfile(folder / e['file'], e['dtype']).reshape(e['shape'])) for e in entries}
        self.optimizer, self.step, way = optimizer, 0, form['way']
        tensors = 'DTensor' in way
        self.loss_parallel = tensors
        model = (Sequences if 'layouts' in form else peer.GPT if tensors else gpt.GPT)(config)
        gpt.load(model, weights)
        # Devices that have rows of their own, and how many of them.
        rows = form['layout'].get('batch', [])
        rows = [rows] if isinstance(rows, str) else rows
        self.parts = int(np.prod([axes[a] for a in rows]))
        own = dist.get_rank() if len(rows) == len(axes) else self.mesh[rows[0]].get_local_rank() if rows else 0
        given = [np.fromfile(folder / f'batch.{i}', '<i4').reshape(2, batch, config['seq']) for i in range(batches)]
        self.batches = [tuple(torch.from_numpy(x).long().chunk(self.parts)[own].contiguous() for x in pair) for pair in given]
        self.piped = way == 'pipelining'
        if self.piped:
            model = self.pipe(model, form['pipeline']['microbatches'])
        if tensors:
            peer.share_heads(model, axes['model'])
            model.parallelize(self.mesh['model'])
        if way == 'FSDP2':
            for block in model.blocks:
                fully_shard(block, mesh=self.mesh)
            fully_shard(model, mesh=self.mesh)
        # What is split, and over which processes its gradient's norm is summed. DDP keeps local parts in the place of DTensors.
        split = {name for name, p in model.named_parameters() if isinstance(p, DTensor) and any(place.is_shard() for place in p.placements)}
        # A stage's parameters are its own, but for the embedding, which the first counts.
        if self.piped:
            split = {name for name, _ in model.named_parameters() if name != 'tokens.weight' or model.first}
        self.group = self.mesh['model' if tensors else list(axes)[-1]].get_group() if split else None
        self.model = DistributedDataParallel(model, device_mesh=self.mesh['data'], gradient_as_bucket_view=True) if 'DDP' in way else model
        named = [(name.removeprefix('module.'), p) for name, p in self.model.named_parameters()]
        self.split, self.whole = [p for n, p in named if n in split], [p for n, p in named if n not in split]
        self.adamw = adamw([p for _, p in named], optimizer)
        self.schedule = gpt.schedule(self.adamw, optimizer)
        return {'runtime': f'PyTorch {torch.__version__}, {dist.get_world_size()} gloo processes, threads each: {torch.get_num_threads()}'}

    def pipe(self, model, microbatches):
        index, count = dist.get_rank(), dist.get_world_size()
        self.tied = dist.new_group([0, count - 1])
        own = Stage(model, index, count)
        own.train()
        loss = lambda logits, targets: F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        self.pipeline = ScheduleGPipe(PipelineStage(own, index, count, torch.device('cpu')), microbatches, loss_fn=loss)
        return own

    def through(self, tokens, targets):
        losses = []
        self.pipeline.step(*([tokens] if self.model.first else []), **({'target': targets, 'losses': losses} if self.model.last else {}))
        if self.model.first or self.model.last:
            dist.all_reduce(self.model.tokens.weight.grad, group=self.tied)
        loss = torch.stack(losses).mean().detach() if losses else torch.zeros(())
        dist.broadcast(loss, dist.get_world_size() - 1)
        return loss

    def local(self, params):
        for p in params:
            if isinstance(p.grad, DTensor) and p.grad.placements != p.placements:
                p.grad = p.grad.redistribute(placements=p.placements)
        return [p.grad.to_local() if isinstance(p.grad, DTensor) else p.grad for p in params]

    def clip(self):
        split, whole = self.local(self.split), self.local(self.whole)
        counted = [] if self.piped else whole
        square = lambda of: torch.nn.utils.get_total_norm(of, foreach=True) ** 2 if of else torch.zeros(())
        total = square(split)
        if split:
            dist.all_reduce(total, group=self.group)
        total = (total + square(counted)).sqrt()
        torch._foreach_mul_(split + whole, (self.optimizer['clip'] / (total + 1e-6)).clamp(max=1))

    def train(self):
        self.adamw.zero_grad(set_to_none=True)
        given = self.batches[self.step % len(self.batches)]
        if self.piped:
            loss = self.through(*given)
        elif self.loss_parallel:
            with loss_parallel():
                loss = self.model(*given)
                loss.backward()
        else:
            loss = self.model(*given)
            loss.backward()
        self.clip()
        self.adamw.step()
        self.schedule.step()
        self.step += 1
        total = loss.detach()
        total = total.full_tensor() if isinstance(total, DTensor) else total.clone()
        if self.parts > 1:
            dist.all_reduce(total, group=None if not self.loss_parallel else self.mesh['data'].get_group())
        return total.item() / self.parts

    def close(self):
        del self.model, self.adamw, self.split, self.whole, self.schedule
        return {}


if __name__ == '__main__':
    peer.main(Rank, lambda request: int(np.prod(list(request['form']['mesh'].values()))))
