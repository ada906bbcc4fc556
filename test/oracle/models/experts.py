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


@case
def switch():
    """Every second layer has experts, of which some tokens find no place."""
    sizes = {'vocab_size': 24, 'd_model': 16, 'd_kv': 4, 'd_ff': 12, 'num_heads': 4, 'relative_attention_num_buckets': 6, 'relative_attention_max_distance': 12}
    config = t.SwitchTransformersConfig(**sizes, num_layers=4, num_sparse_encoder_layers=2, num_decoder_layers=2, num_sparse_decoder_layers=1, num_experts=4, expert_capacity=3)
    config._attn_implementation = 'eager'
    model = seeded(t.SwitchTransformersForConditionalGeneration(config))
    source, target, labels = ids(4, 9, below=24), ids(4, 9, below=24, seed=3), ids(4, 9, below=24, seed=4)
    source[0, 6:] = 0
    labels[1, 2:4] = -100
    logits = model(input_ids=source, attention_mask=(source != 0).int(), decoder_input_ids=target).logits
    experts = {'count': 4, 'slots': 3, 'encoderEvery': 2, 'decoderEvery': 2, 'jitter': 0.01, 'balance': 0, 'zLoss': 0}
    return {'model': model, 'inputs': {'source': source, 'target': target, 'labels': labels}, 'outputs': {'logits': logits},
            'loss': F.cross_entropy(logits.reshape(-1, 24), labels.reshape(-1), ignore_index=-100), 'settings': {'seq': 9, 'options': {'experts': experts}}}


@case
def deepseek_v3():
    """Attention over latents, and windows made longer."""
    own = {'num_hidden_layers': 2, 'num_key_value_heads': 4, 'n_routed_experts': 8, 'n_shared_experts': 1, 'moe_intermediate_size': 4, 'n_group': 4, 'topk_group': 2, 'first_k_dense_replace': 1, 'num_experts_per_tok': 3,
           'q_lora_rank': 6, 'kv_lora_rank': 5, 'qk_rope_head_dim': 4, 'qk_nope_head_dim': 6, 'v_head_dim': 8,
           'rope_parameters': {'rope_type': 'yarn', 'rope_theta': 500.0, 'factor': 4.0, 'original_max_position_embeddings': 16, 'mscale': 1.0, 'mscale_all_dim': 0.5, 'beta_fast': 3.0, 'beta_slow': 0.5}, 'max_position_embeddings': 64}
    return routed(t.DeepseekV3Config(**{**{k: v for k, v in sizes.items() if k != 'head_dim'}, **own}), t.DeepseekV3ForCausalLM)


@case
def deepseek_v2():
    """Groups of experts by their best one; queries of the stream itself."""
    own = {'num_hidden_layers': 2, 'num_key_value_heads': 4, 'n_routed_experts': 8, 'n_shared_experts': 2, 'moe_intermediate_size': 4, 'topk_method': 'group_limited_greedy', 'n_group': 4, 'topk_group': 2, 'first_k_dense_replace': 1,
           'num_experts_per_tok': 3, 'routed_scaling_factor': 1.5, 'q_lora_rank': None, 'kv_lora_rank': 6, 'qk_rope_head_dim': 4, 'qk_nope_head_dim': 6, 'v_head_dim': 8}
    return routed(t.DeepseekV2Config(**{**{k: v for k, v in sizes.items() if k != 'head_dim'}, **own}), t.DeepseekV2ForCausalLM)
