"""Small T5s with seeded weights: what transformers' `generate` writes to some sources, the likeliest tokens one after another, penalised, and by beam search.

    python test/oracle/t5.py FOLDER [CASE…]        with transformers 5.24.0 and torch 2.13.0; a folder each: config.json, model.safetensors, answers.json
"""
import json
import os
import sys

import torch
import transformers as hf

hf.utils.logging.set_verbosity_error()
hf.utils.logging.disable_progress_bar()
torch.set_num_threads(1)
tiny = dict(vocab_size=24, d_model=6, d_kv=2, d_ff=8, num_heads=4, num_layers=1, num_decoder_layers=2, relative_attention_num_buckets=8, relative_attention_max_distance=9)
# Distances beyond the usual 128, and layers enough for errors to add up.
small = dict(vocab_size=300, d_model=64, d_kv=16, d_ff=128, num_heads=4, num_layers=4, num_decoder_layers=3)
kinds = {'relu': dict(feed_forward_proj='relu'), 'gated': dict(feed_forward_proj='gated-gelu', tie_word_embeddings=False)}
shapes = {'tiny': (tiny, (1, 3, 11, 20)), 'small': (small, (2, 17, 150, 400))}
# Spreads and seeds with which texts say more than one token, some end, and a rounding is not made so much larger that PyTorch itself is off by more than 1e-4 in f32.
drawn_by = {'tiny-relu': (2, 19), 'tiny-gated': (2, 13), 'small-relu': (1.4, 4), 'small-gated': (1, 3)}
cases = {f'{size}-{kind}': (*shape, options) for size, shape in shapes.items() for kind, options in kinds.items()}
tokens = 24


def built(sizes, options, spread, seed):
    config = hf.T5Config(**sizes, **options, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1)
    model = hf.T5ForConditionalGeneration(config)
    if options.get('tie_word_embeddings') is False:
        # transformers ties the logits' weights by itself; the files of version 1.1 have them apart.
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
        model.config.tie_word_embeddings = False
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            # Gains about one; the rest so large that what is added to the stream counts for more than the token that it began with: else texts are one token.
            deviation = {'shared.weight': 1, 'lm_head.weight': 1 / p.shape[-1] ** 0.5}.get(name, 1 if 'relative' in name else spread / p.shape[-1] ** 0.5)
            drawn = (torch.rand(p.shape, generator=g) * 2 - 1) * 3 ** 0.5
            p.copy_(1 + 0.3 * drawn if 'layer_norm' in name else deviation * drawn)
    return model.eval()


def written(model, source, **how):
    ids = torch.tensor([source])
    # Whole each time: its cache has as many layers as the encoder, which the decoder may have more of.
    with torch.no_grad():
        found = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False, use_cache=False, return_dict_in_generate=True, output_logits=True, **how)
    made = found.sequences[0, 1:]
    told = torch.stack(found.logits)[:, 0].float().log_softmax(-1)
    return {'tokens': made.tolist(), 'logprobs': told[torch.arange(len(made)), made].tolist()}


def searched(model, source, beams, most):
    ids = torch.tensor([source])
    with torch.no_grad():
        found = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=most, num_beams=beams, num_return_sequences=beams, length_penalty=1.0, early_stopping=False, do_sample=False, use_cache=False, return_dict_in_generate=True, output_scores=True)
    # Behind its end a text is filled up.
    return [{'tokens': [t for i, t in enumerate(row) if 1 not in row[:i]], 'score': score} for row, score in zip(found.sequences[:, 1:].tolist(), found.sequences_scores.tolist())]


folder, wanted = sys.argv[1], sys.argv[2:] or list(cases)
for name in wanted:
    sizes, lengths, options = cases[name]
    model = built(sizes, options, *drawn_by[name])
    at = os.path.join(folder, name)
    model.save_pretrained(at)
    os.path.exists(os.path.join(at, 'generation_config.json')) and os.remove(os.path.join(at, 'generation_config.json'))
    g = torch.Generator().manual_seed(11)
    sources = [torch.randint(2, sizes['vocab_size'], (n,), generator=g).tolist() + [1] for n in lengths]
    answers = [{'source': s, 'greedy': written(model, s), 'penalised': written(model, s, repetition_penalty=1.3, suppress_tokens=[2, 3]), 'beams': searched(model, s, 3, 6)} for s in sources]
    model.generation_config.eos_token_id = None
    for a in answers:
        a['endless'] = written(model, a['source'])
    with open(os.path.join(at, 'answers.json'), 'w') as f:
        json.dump(answers, f)
    print(name, [len(a['greedy']['tokens']) for a in answers], [len(set(a['endless']['tokens'])) for a in answers], flush=True)
