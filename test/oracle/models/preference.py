"""Decoders that learn from pairs of answers: direct preference optimization, in closed form on the logits of transformers.

Rafailov et al. 2023, equation 7; conservative DPO's label smoothing and the metrics as TRL's DPOTrainer has them (loss_type sigmoid).
"""
import copy

import torch
import torch.nn.functional as F
import transformers as t

from decoders import seq, sizes
from harness import case, ids, seeded, stored


def log_probability(model, tokens, targets):
    logits = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits
    counts = targets != -100
    found = torch.gather(logits.log_softmax(-1), 2, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return (found * counts).sum(-1)


def judged(policy, reference, saved, beta, smoothing, settings, others):
    vocab = saved.config.vocab_size
    prompt, sides = ids(4, seq, below=vocab), {}
    for n, side in enumerate(('chosen', 'rejected')):
        tokens, targets = ids(4, seq, below=vocab, seed=5 + n), ids(4, seq, below=vocab, seed=7 + n)
        # A prompt that both answers have, of another length in each pair, and what fills up the row.
        for row in range(4):
            tokens[row, :row + 1] = prompt[row, :row + 1]
            targets[row, :row] = -100
            targets[row, seq - row * n:] = -100
        sides[side] = (tokens, targets)
    rewards = {}
    for side, (tokens, targets) in sides.items():
        with torch.no_grad():
            before = log_probability(reference, tokens, targets)
        rewards[side] = beta * (log_probability(policy, tokens, targets) - before)
    margin = rewards['chosen'] - rewards['rejected']
    loss = (-F.logsigmoid(margin) * (1 - smoothing) - F.logsigmoid(-margin) * smoothing).mean()
    outputs = {'accuracy': (margin > 0).float().mean(), 'margin': margin.mean(), 'chosenReward': rewards['chosen'].mean(), 'rejectedReward': rewards['rejected'].mean()}
    return {'model': saved, 'inputs': {f'{side}.{name}': x for side, pair in sides.items() for name, x in zip(('tokens', 'targets'), pair)}, 'outputs': {n: x.reshape(1) for n, x in outputs.items()},
            'loss': loss, 'others': others, 'settings': {'seq': seq, 'masked': True, 'batch': 4, 'preference': {'beta': beta, 'labelSmoothing': smoothing}, **settings}}


def copied(make, beta, smoothing):
    """The reference is another model, frozen."""
    policy, reference = seeded(make()), seeded(make(), seed=9)
    return judged(policy, reference, policy, beta, smoothing, {}, lambda: {f'reference.{n}': x for n, x in stored(reference)[0].items()})


class Adapted(torch.nn.Module):
    """A linear layer as peft has it with LoRA: x W + x A B · alpha / rank."""

    def __init__(self, base, rank, alpha, seed):
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.base, self.scale = base, alpha / rank
        self.down = torch.nn.Parameter((torch.rand(rank, base.in_features, generator=g) * 2 - 1) * 0.5)
        self.up = torch.nn.Parameter((torch.rand(base.out_features, rank, generator=g) * 2 - 1) * 0.5)

    def forward(self, x):
        return self.base(x) + x @ self.down.T @ self.up.T * self.scale


def llama(**options):
    config = t.LlamaConfig(**{**sizes, 'max_position_embeddings': 64, **options})
    config._attn_implementation = 'eager'
    return t.LlamaForCausalLM(config)


@case
def preference_llama():
    return copied(lambda: llama(tie_word_embeddings=True), 0.3, 0.1)


@case
def preference_gpt2():
    def make():
        config = t.GPT2Config(vocab_size=24, n_positions=12, n_embd=16, n_layer=2, n_head=4, n_inner=12, bos_token_id=None, eos_token_id=None)
        config._attn_implementation = 'eager'
        return t.GPT2LMHeadModel(config)
    return copied(make, 0.1, 0)


@case
def preference_adapters():
    base = seeded(llama())
    for p in base.parameters():
        p.requires_grad_(False)
    policy, adapters = copy.deepcopy(base), {}
    for name, linear in (('query', 'q_proj'), ('value', 'v_proj')):
        for i, layer in enumerate(policy.model.layers):
            made = Adapted(getattr(layer.self_attn, linear), 2, 3, 20 + 2 * i + (name == 'value'))
            setattr(layer.self_attn, linear, made)
            adapters.setdefault(name, []).append(made)

    def others():
        """Stacked by layers, with our paths."""
        found = {}
        for name, made in adapters.items():
            for part in ('down', 'up'):
                each = [getattr(m, part) for m in made]
                found[f'lora.blocks.{name}.{part}'] = torch.stack([x.detach() for x in each])
                found[f'gradient.lora.blocks.{name}.{part}'] = torch.stack([x.grad for x in each])
        return found
    return judged(policy, base, base, 0.2, 0, {'lora': {'rank': 2, 'alpha': 3, 'on': ['query', 'value']}}, others)
