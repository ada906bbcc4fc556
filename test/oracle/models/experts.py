"""Models of experts, each with its odd options on."""
import torch
import torch.nn.functional as F
import transformers as t

from decoders import seq, sizes
from harness import case, ids, seeded

choosing = {'num_experts_per_tok': 2, 'num_hidden_layers': 2}


def routed(config, cls):
    """As other decoders are judged; where routers' logits are put out, the loss that keeps experts balanced is in the loss."""
    config._attn_implementation = 'eager'
    model = seeded(cls(config))
    # What balances is no weight: seeded too, lest it be 0.
    generator = torch.Generator().manual_seed(5)
    for name, buffer in model.named_buffers():
        if name.endswith('e_score_correction_bias'):
            buffer.copy_((torch.rand(buffer.shape, generator=generator) * 2 - 1) * 0.3)
    vocab = config.vocab_size
    tokens, targets = ids(4, seq, below=vocab), ids(4, seq, below=vocab, seed=3)
    targets[1, 2] = -100
    out = model(input_ids=tokens, attention_mask=torch.ones_like(tokens))
    loss = F.cross_entropy(out.logits.reshape(-1, vocab), targets.reshape(-1), ignore_index=-100)
    if getattr(config, 'output_router_logits', False):
        loss = loss + config.router_aux_loss_coef * out.aux_loss
    return {'model': model, 'inputs': {'tokens': tokens, 'targets': targets}, 'outputs': {'logits': out.logits}, 'loss': loss, 'settings': {'seq': seq, 'masked': True}}


@case
def mixtral():
    return routed(t.MixtralConfig(**{**sizes, **choosing, 'num_local_experts': 4, 'sliding_window': 4}), t.MixtralForCausalLM)


@case
def mixtral_balanced():
    return routed(t.MixtralConfig(**{**sizes, **choosing, 'num_local_experts': 4, 'output_router_logits': True, 'router_aux_loss_coef': 0.5}), t.MixtralForCausalLM)


@case
def qwen2_moe():
    own = {'num_experts': 4, 'moe_intermediate_size': 8, 'shared_expert_intermediate_size': 6, 'norm_topk_prob': False, 'use_sliding_window': False}
    return routed(t.Qwen2MoeConfig(**{**sizes, **choosing, **own}), t.Qwen2MoeForCausalLM)


@case
def qwen3_moe():
    own = {'num_experts': 4, 'moe_intermediate_size': 8, 'norm_topk_prob': True, 'head_dim': 6, 'output_router_logits': True, 'router_aux_loss_coef': 0.1}
    return routed(t.Qwen3MoeConfig(**{**sizes, **choosing, **own}), t.Qwen3MoeForCausalLM)


@case
def olmoe():
    return routed(t.OlmoeConfig(**{**sizes, **choosing, 'num_experts': 4, 'norm_topk_prob': False}), t.OlmoeForCausalLM)


@case
def dots1():
    """Routing and shared experts of DeepSeek-V3, beside attention as Llama's."""
    own = {'num_hidden_layers': 3, 'n_routed_experts': 8, 'n_shared_experts': 2, 'moe_intermediate_size': 4, 'n_group': 4, 'topk_group': 2, 'norm_topk_prob': True, 'routed_scaling_factor': 2.5, 'first_k_dense_replace': 1, 'num_experts_per_tok': 3, 'sliding_window': None}
    return routed(t.Dots1Config(**{**sizes, **own}), t.Dots1ForCausalLM)
