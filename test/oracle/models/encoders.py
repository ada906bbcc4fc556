"""Writes test/models/fixtures/*.json: what transformers makes, in f64, of small BERTs, RoBERTas, T5s, ViTs and ResNets: logits, loss and gradients.

    python test/oracle/models/encoders.py test/models/fixtures        with transformers 5.24.0 and torch 2.13.0

Weights are those of the files that transformers writes, gradients lie under the same names.
"""
import copy
import json
import math
import sys
import tempfile

import torch
import torch.nn.functional as F
import transformers as hf
from safetensors.torch import load_file

torch.set_default_dtype(torch.float64)
out = sys.argv[1]
only = sys.argv[2:]


def drawn(shape, seed, scale):
    g = torch.Generator().manual_seed(seed)
    # Rounded, so that the file is short and exact.
    return ((torch.rand(*shape, generator=g) * 2 - 1) * scale).mul(1024).round().div(1024)


def roughen(model):
    """Every number its own: as initialised, gains are one and biases zero."""
    with torch.no_grad():
        for i, (name, p) in enumerate(model.named_parameters()):
            p.copy_(drawn(p.shape, 100 + i, 0.4) + (1 if p.dim() == 1 and ('norm' in name.lower()) and name.endswith('weight') else 0))
        for i, (name, b) in enumerate(model.named_buffers()):
            if 'running_mean' in name:
                b.copy_(drawn(b.shape, 500 + i, 0.3))
            if 'running_var' in name:
                b.copy_(drawn(b.shape, 600 + i, 0.4) + 1)


def numbers(t, digits=11):
    return [float(f'{x:.{digits}g}') for x in t.detach().double().reshape(-1).tolist()]


def stored(model):
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        found = load_file(f'{folder}/model.safetensors')
        config = json.load(open(f'{folder}/config.json'))
    return {k: v for k, v in found.items() if v.is_floating_point()}, config


def gradients(model):
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for p, q in zip(twin.parameters(), model.parameters()):
            p.copy_(torch.zeros_like(q) if q.grad is None else q.grad)
        for b in twin.buffers():
            b.zero_()
    return stored(twin)[0]


def case(name, model, given, compute, options=None):
    if only and name not in only:
        return
    roughen(model)
    model.eval()
    weights, config = stored(model)
    results = compute(model)
    results['loss'].backward()
    grads = gradients(model)
    with open(f'{out}/{name}.json', 'w') as f:
        json.dump({
            'config': config, 'options': options or {}, 'weights': {k: {'shape': list(v.shape), 'data': numbers(v)} for k, v in weights.items()},
            'given': {k: {'shape': list(v.shape), 'data': [int(x) for x in v.reshape(-1).tolist()]} for k, v in given.items()},
            'results': {k: numbers(v) for k, v in results.items()}, 'gradients': {k: numbers(v, 8) for k, v in grads.items()},
        }, f, separators=(',', ':'))
        f.write('\n')


def ids(shape, below, seed, least=0):
    return torch.randint(least, below, shape, generator=torch.Generator().manual_seed(seed))


def lengths(n, *rows):
    return torch.tensor([[1] * k + [0] * (n - k) for k in rows])


def bert():
    encoder = dict(vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=4, intermediate_size=12, max_position_embeddings=9, layer_norm_eps=1e-5)
    # Not the padding token, whose embedding torch gives no gradient.
    tokens, types, mask = ids((4, 6), 20, 1, 1), ids((4, 6), 2, 2), lengths(6, 6, 4, 1, 5)
    for name, tied, act in (('bert-masked', True, 'gelu'), ('bert-masked-untied', False, 'gelu_new')):
        targets = torch.where(ids((4, 6), 2, 3).bool() & mask.bool(), ids((4, 6), 20, 4), -100)

        def masked(model):
            found = model(input_ids=tokens, token_type_ids=types, attention_mask=mask, labels=targets)
            return {'logits': found.logits, 'loss': found.loss}
        model = hf.BertForMaskedLM(hf.BertConfig(**encoder, hidden_act=act, tie_word_embeddings=tied))
        if not tied:
            model.cls.predictions.decoder.weight = torch.nn.Parameter(model.cls.predictions.decoder.weight.clone())
        case(name, model, {'tokens': tokens, 'types': types, 'mask': mask, 'targets': targets}, masked, {'padded': True, 'paired': True})
    labels = torch.tensor([2, 0, -100, 1])

    def classified(model):
        found = model(input_ids=tokens, token_type_ids=types, attention_mask=mask, labels=labels)
        return {'logits': found.logits, 'loss': found.loss}
    case('bert-classifier', hf.BertForSequenceClassification(hf.BertConfig(**encoder, hidden_act='relu', num_labels=3)), {'tokens': tokens, 'types': types, 'mask': mask, 'labels': labels}, classified)
    # sentence-transformers' pooling and MultipleNegativesRankingLoss.
    others, othersMask = ids((4, 6), 20, 5, 1), lengths(6, 3, 5, 6, 2)
    pool = {
        'mean': lambda h, m, p: (h * m[..., None]).sum(1) / m.sum(1, keepdim=True).clamp(min=1e-9), 'max': lambda h, m, p: h.masked_fill(m[..., None] == 0, -1e9).max(1).values,
        'cls': lambda h, m, p: h[:, 0], 'pooler': lambda h, m, p: p,
    }
    for pooling in pool:
        def embedded(model):
            def side(t, m):
                found = model(input_ids=t, attention_mask=m)
                return F.normalize(pool[pooling](found.last_hidden_state, m, found.pooler_output), dim=1)
            a, b = side(tokens, mask), side(others, othersMask)
            return {'vectors': a, 'loss': F.cross_entropy(a @ b.T * 20, torch.arange(4))}
        case(f'bert-embedder-{pooling}', hf.BertModel(hf.BertConfig(**{**encoder, 'num_hidden_layers': 1})), {'tokens': tokens, 'mask': mask, 'others': others, 'othersMask': othersMask}, embedded, {'pooling': pooling})


def roberta():
    encoder = dict(vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=4, intermediate_size=12, max_position_embeddings=9, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5)
    mask = lengths(6, 6, 4, 2, 5)
    # Padding before a text, too: positions count what is none.
    mask[1] = torch.tensor([0, 1, 1, 1, 0, 0])
    tokens = torch.where(mask.bool(), ids((4, 6), 20, 11, 2), 1)
    targets = torch.where(ids((4, 6), 2, 12).bool() & mask.bool(), ids((4, 6), 20, 13), -100)

    def masked(model):
        found = model(input_ids=tokens, attention_mask=mask, labels=targets)
        return {'logits': found.logits, 'loss': found.loss}
    case('roberta-masked', hf.RobertaForMaskedLM(hf.RobertaConfig(**encoder, hidden_act='gelu')), {'tokens': tokens, 'mask': mask, 'targets': targets}, masked, {'padded': True})
    labels = torch.tensor([1, -100, 0, 2])

    def classified(model):
        found = model(input_ids=tokens, attention_mask=mask, labels=labels)
        return {'logits': found.logits, 'loss': found.loss}
    case('roberta-classifier', hf.RobertaForSequenceClassification(hf.RobertaConfig(**encoder, hidden_act='silu', num_labels=3)), {'tokens': tokens, 'mask': mask, 'labels': labels}, classified)


def t5():
    sizes = dict(vocab_size=20, d_model=6, d_kv=2, d_ff=8, num_heads=4, num_layers=2, num_decoder_layers=1, relative_attention_num_buckets=8, relative_attention_max_distance=9, decoder_start_token_id=0)
    mask = lengths(12, 12, 5, 9, 1)
    source = torch.where(mask.bool(), ids((4, 12), 20, 21, 1), 0)
    labels = torch.where(lengths(12, 4, 12, 1, 7).bool(), ids((4, 12), 20, 22, 1), -100)
    target = torch.cat([torch.zeros(4, 1, dtype=torch.long), labels[:, :-1].clamp(min=0)], 1)

    def compute(model):
        found = model(input_ids=source, attention_mask=mask, decoder_input_ids=target, labels=labels)
        return {'logits': found.logits, 'loss': found.loss}
    given = {'source': source, 'target': target, 'labels': labels}
    case('t5', hf.T5ForConditionalGeneration(hf.T5Config(**sizes, feed_forward_proj='relu')), given, compute)
    model = hf.T5ForConditionalGeneration(hf.T5Config(**sizes, feed_forward_proj='gated-gelu', tie_word_embeddings=False))
    # transformers ties the logits' weights by itself; the files of version 1.1 have them apart.
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
    model.config.tie_word_embeddings = False
    case('t5-gated', model, given, compute)
    if only and 't5-buckets' not in only:
        return
    bucket = hf.models.t5.modeling_t5.T5Attention._relative_position_bucket
    configs = [(32, 128), (32, 20), (8, 9), (12, 37)]
    found = [{'count': n, 'farthest': far, 'bothWays': both, 'buckets': bucket(torch.arange(-far - 3, far + 4), both, n, far).tolist()} for n, far in configs for both in (False, True)]
    with open(f'{out}/t5-buckets.json', 'w') as f:
        json.dump(found, f, separators=(',', ':'))
        f.write('\n')


def pictures(channels, height, width, seed, mean, std):
    images = ids((4, height, width, channels), 256, seed)
    pixels = (images.permute(0, 3, 1, 2) / 255 - torch.tensor(mean).reshape(1, -1, 1, 1)) / torch.tensor(std).reshape(1, -1, 1, 1)
    return images, pixels


def vit():
    labels = torch.tensor([2, 1, -100, 0])
    for name, biases, act in (('vit', True, 'gelu'), ('vit-no-biases', False, 'gelu_new')):
        images, pixels = pictures(3, 6, 4, 31, [0.5], [0.5])

        def compute(model):
            found = model(pixel_values=pixels, labels=labels)
            return {'logits': found.logits, 'loss': found.loss}
        config = hf.ViTConfig(hidden_size=8, num_hidden_layers=2, num_attention_heads=4, intermediate_size=12, hidden_act=act, image_size=[6, 4], patch_size=[3, 2], num_channels=3, qkv_bias=biases, num_labels=3, layer_norm_eps=1e-6)
        case(name, hf.ViTForImageClassification(config), {'images': images, 'labels': labels}, compute)


def resnet():
    labels = torch.tensor([2, 1, -100, 0])
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    for name, layer, sizes, first, early, training in (('resnet-basic', 'basic', [4, 6], False, False, False), ('resnet-bottleneck', 'bottleneck', [8, 12], True, True, False), ('resnet-training', 'bottleneck', [8, 8], False, False, True)):
        images, pixels = pictures(3, 20, 16, 41, mean, std)

        def compute(model):
            model.train(training)
            found = model(pixel_values=pixels, labels=labels)
            results = {'logits': found.logits, 'loss': found.loss}
            if training:
                results |= {k: v.clone() for k, v in model.named_buffers() if 'running' in k}
            return results
        config = hf.ResNetConfig(num_channels=3, embedding_size=4, hidden_sizes=sizes, depths=[2, 1], layer_type=layer, downsample_in_first_stage=first, downsample_in_bottleneck=early, num_labels=3)
        case(name, hf.ResNetForImageClassification(config), {'images': images, 'labels': labels}, compute, {'height': 20, 'width': 16, 'mean': mean, 'std': std})


for judge in (bert, roberta, t5, vit, resnet):
    judge()
