"""Decoders, each with its odd options on."""
import torch
import torch.nn.functional as F
import transformers as t

from harness import case, ids, seeded

sizes = {'vocab_size': 24, 'hidden_size': 16, 'intermediate_size': 12, 'num_hidden_layers': 2, 'num_attention_heads': 4, 'num_key_value_heads': 2, 'head_dim': 4, 'pad_token_id': None, 'bos_token_id': None, 'eos_token_id': None}
seq = 7


def language(model, length=seq):
    """Four windows, a target that does not count, the mean loss of the others."""
    vocab = model.config.vocab_size
    tokens, targets = ids(4, length, below=vocab), ids(4, length, below=vocab, seed=3)
    targets[1, 2] = -100
    logits = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits
    return {'model': model, 'inputs': {'tokens': tokens, 'targets': targets}, 'outputs': {'logits': logits},
            'loss': F.cross_entropy(logits.reshape(-1, vocab), targets.reshape(-1), ignore_index=-100), 'settings': {'seq': length, 'masked': True}}


def made(config, cls, length=seq):
    config._attn_implementation = 'eager'
    return language(seeded(cls(config)), length)


def llama(length=seq, **options):
    return made(t.LlamaConfig(**{**sizes, 'max_position_embeddings': 64, **options}), t.LlamaForCausalLM, length)


@case
def llama_plain():
    return llama(num_key_value_heads=4)


@case
def llama_tied_with_biases():
    return llama(tie_word_embeddings=True, attention_bias=True, mlp_bias=True, rms_norm_eps=1e-3, num_key_value_heads=1)


@case
def llama_linear():
    return llama(rope_parameters={'rope_type': 'linear', 'factor': 3.0, 'rope_theta': 500.0})


@case
def llama_dynamic():
    return llama(max_position_embeddings=5, rope_parameters={'rope_type': 'dynamic', 'factor': 2.0, 'rope_theta': 500.0})


@case
def llama_yarn():
    return llama(rope_parameters={'rope_type': 'yarn', 'factor': 4.0, 'rope_theta': 500.0, 'original_max_position_embeddings': 16, 'beta_fast': 3.0, 'beta_slow': 0.5})


@case
def llama_llama3():
    return llama(rope_parameters={'rope_type': 'llama3', 'factor': 8.0, 'rope_theta': 500.0, 'original_max_position_embeddings': 16, 'low_freq_factor': 1.0, 'high_freq_factor': 4.0})


@case
def mistral():
    return made(t.MistralConfig(**{**sizes, 'sliding_window': 3, 'head_dim': 6}), t.MistralForCausalLM)


@case
def qwen2():
    return made(t.Qwen2Config(**{**sizes, 'use_sliding_window': True, 'sliding_window': 3, 'max_window_layers': 1}), t.Qwen2ForCausalLM)


@case
def qwen3():
    return made(t.Qwen3Config(**{**sizes, 'head_dim': 6, 'attention_bias': True, 'tie_word_embeddings': True}), t.Qwen3ForCausalLM)


@case
def smollm3():
    return made(t.SmolLM3Config(**{**sizes, 'num_hidden_layers': 3, 'no_rope_layers': [1, 0, 1], 'use_sliding_window': True, 'sliding_window': 4}), t.SmolLM3ForCausalLM)


@case
def phi3():
    return made(t.Phi3Config(**{**sizes, 'partial_rotary_factor': 0.5, 'sliding_window': 4}), t.Phi3ForCausalLM)


@case
def phi3_longrope():
    return made(t.Phi3Config(**{**sizes, 'max_position_embeddings': 32, 'original_max_position_embeddings': 6,
                                'rope_parameters': {'rope_type': 'longrope', 'rope_theta': 500.0, 'short_factor': [1.0, 1.5], 'long_factor': [2.0, 7.0]}}), t.Phi3ForCausalLM)


@case
def gemma2():
    return made(t.Gemma2Config(**{**sizes, 'num_hidden_layers': 3, 'sliding_window': 3, 'attn_logit_softcapping': 0.8, 'final_logit_softcapping': 2.0, 'query_pre_attn_scalar': 7}), t.Gemma2ForCausalLM)


@case
def gemma3():
    options = {**sizes, 'num_hidden_layers': 3, 'sliding_window': 3, 'query_pre_attn_scalar': 7, 'layer_types': ['sliding_attention', 'sliding_attention', 'full_attention']}
    return made(t.Gemma3TextConfig(**options, rope_parameters={
        'full_attention': {'rope_type': 'linear', 'factor': 2.0, 'rope_theta': 900.0}, 'sliding_attention': {'rope_type': 'default', 'rope_theta': 50.0}}), t.Gemma3ForCausalLM)


@case
def olmo2():
    return made(t.Olmo2Config(**{**sizes, 'attention_bias': True}), t.Olmo2ForCausalLM)


@case
def gpt2():
    return made(t.GPT2Config(vocab_size=24, n_positions=12, n_embd=16, n_layer=2, n_head=4, n_inner=12, resid_pdrop=0.1, bos_token_id=None, eos_token_id=None), t.GPT2LMHeadModel)
