"""Encoders, encoder-decoders and nets for images, each with its odd options on."""
import torch
import torch.nn.functional as F
import transformers as hf

from harness import cases

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


def add(name, make):
    """A case of its own name: a model, inputs as our batch has them, what is computed, and what of our configuration config.json does not say."""
    def judged():
        model, given, compute, settings = make()
        roughen(model)
        results = compute(model.eval())
        loss = results.pop('loss')
        return {'model': model, 'inputs': given, 'outputs': results, 'loss': loss, 'settings': settings}
    cases[name] = judged


def ids(shape, below, seed, least=0):
    return torch.randint(least, below, shape, generator=torch.Generator().manual_seed(seed))


def lengths(n, *rows):
    return torch.tensor([[1] * k + [0] * (n - k) for k in rows])


def labelled(called, **given):
    def compute(model):
        found = model(**{theirs: given[ours] for ours, theirs in called.items()})
        return {'logits': found.logits, 'loss': found.loss}
    return compute


def bert():
    encoder = dict(vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=4, intermediate_size=12, max_position_embeddings=9, layer_norm_eps=1e-5)
    # Not the padding token, whose embedding torch gives no gradient.
    tokens, types, mask = ids((4, 6), 20, 1, 1), ids((4, 6), 2, 2), lengths(6, 6, 4, 1, 5)
    targets = torch.where(ids((4, 6), 2, 3).bool() & mask.bool(), ids((4, 6), 20, 4), -100)
    labels = torch.tensor([2, 0, -100, 1])
    given = {'tokens': tokens, 'types': types, 'mask': mask}
    names = {'tokens': 'input_ids', 'types': 'token_type_ids', 'mask': 'attention_mask'}
    masked = labelled({**names, 'targets': 'labels'}, **given, targets=targets)

    def untied():
        model = hf.BertForMaskedLM(hf.BertConfig(**encoder, hidden_act='gelu_new', tie_word_embeddings=False))
        model.cls.predictions.decoder.weight = torch.nn.Parameter(model.cls.predictions.decoder.weight.clone())
        return model, {**given, 'targets': targets}, masked, {'seq': 6, 'options': {'padded': True, 'paired': True}}
    add('bert-masked', lambda: (hf.BertForMaskedLM(hf.BertConfig(**encoder)), {**given, 'targets': targets}, masked, {'seq': 6, 'options': {'padded': True, 'paired': True}}))
    add('bert-masked-untied', untied)
    add('bert-classifier', lambda: (hf.BertForSequenceClassification(hf.BertConfig(**encoder, hidden_act='relu', num_labels=3)), {**given, 'labels': labels},
                                    labelled({**names, 'labels': 'labels'}, **given, labels=labels), {'seq': 6}))
    # sentence-transformers' pooling and MultipleNegativesRankingLoss.
    others, othersMask = ids((4, 6), 20, 5, 1), lengths(6, 3, 5, 6, 2)
    pool = {
        'mean': lambda h, m, p: (h * m[..., None]).sum(1) / m.sum(1, keepdim=True).clamp(min=1e-9), 'max': lambda h, m, p: h.masked_fill(m[..., None] == 0, -1e9).max(1).values,
        'cls': lambda h, m, p: h[:, 0], 'pooler': lambda h, m, p: p,
    }

    def embedder(pooling):
        def embedded(model):
            def side(t, m):
                found = model(input_ids=t, attention_mask=m)
                return F.normalize(pool[pooling](found.last_hidden_state, m, found.pooler_output), dim=1)
            a, b = side(tokens, mask), side(others, othersMask)
            return {'vectors': a, 'loss': F.cross_entropy(a @ b.T * 20, torch.arange(4))}
        add(f'bert-embedder-{pooling}', lambda: (hf.BertModel(hf.BertConfig(**{**encoder, 'num_hidden_layers': 1})), {'tokens': tokens, 'mask': mask, 'others': others, 'othersMask': othersMask},
                                                 embedded, {'seq': 6, 'options': {'pooling': pooling}}))
    for pooling in pool:
        embedder(pooling)


def roberta():
    encoder = dict(vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=4, intermediate_size=12, max_position_embeddings=9, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5)
    mask = lengths(6, 6, 4, 2, 5)
    # Padding before a text, too: positions count what is none.
    mask[1] = torch.tensor([0, 1, 1, 1, 0, 0])
    tokens = torch.where(mask.bool(), ids((4, 6), 20, 11, 2), 1)
    targets = torch.where(ids((4, 6), 2, 12).bool() & mask.bool(), ids((4, 6), 20, 13), -100)
    labels = torch.tensor([1, -100, 0, 2])
    given, names = {'tokens': tokens, 'mask': mask}, {'tokens': 'input_ids', 'mask': 'attention_mask'}
    add('roberta-masked', lambda: (hf.RobertaForMaskedLM(hf.RobertaConfig(**encoder)), {**given, 'targets': targets}, labelled({**names, 'targets': 'labels'}, **given, targets=targets), {'seq': 6, 'options': {'padded': True}}))
    add('roberta-classifier', lambda: (hf.RobertaForSequenceClassification(hf.RobertaConfig(**encoder, hidden_act='silu', num_labels=3)), {**given, 'labels': labels},
                                       labelled({**names, 'labels': 'labels'}, **given, labels=labels), {'seq': 6}))


def t5():
    sizes = dict(vocab_size=20, d_model=6, d_kv=2, d_ff=8, num_heads=4, num_layers=2, num_decoder_layers=1, relative_attention_num_buckets=8, relative_attention_max_distance=9, decoder_start_token_id=0)
    mask = lengths(12, 12, 5, 9, 1)
    source = torch.where(mask.bool(), ids((4, 12), 20, 21, 1), 0)
    labels = torch.where(lengths(12, 4, 12, 1, 7).bool(), ids((4, 12), 20, 22, 1), -100)
    target = torch.cat([torch.zeros(4, 1, dtype=torch.long), labels[:, :-1].clamp(min=0)], 1)
    given = {'source': source, 'target': target, 'labels': labels}
    compute = labelled({'source': 'input_ids', 'mask': 'attention_mask', 'target': 'decoder_input_ids', 'labels': 'labels'}, **given, mask=mask)

    def gated():
        model = hf.T5ForConditionalGeneration(hf.T5Config(**sizes, feed_forward_proj='gated-gelu', tie_word_embeddings=False))
        # transformers ties the logits' weights by itself; the files of version 1.1 have them apart.
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
        model.config.tie_word_embeddings = False
        return model, given, compute, {'seq': 12}
    add('t5', lambda: (hf.T5ForConditionalGeneration(hf.T5Config(**sizes, feed_forward_proj='relu')), given, compute, {'seq': 12}))
    add('t5-gated', gated)


def pictures(channels, height, width, seed, mean, std):
    images = ids((4, height, width, channels), 256, seed)
    pixels = (images.permute(0, 3, 1, 2).to(torch.get_default_dtype()) / 255 - torch.tensor(mean).reshape(1, -1, 1, 1)) / torch.tensor(std).reshape(1, -1, 1, 1)
    return images, pixels


def vit():
    labels = torch.tensor([2, 1, -100, 0])

    def one(biases, act):
        images, pixels = pictures(3, 6, 4, 31, [0.5], [0.5])
        config = hf.ViTConfig(hidden_size=8, num_hidden_layers=2, num_attention_heads=4, intermediate_size=12, hidden_act=act, image_size=[6, 4], patch_size=[3, 2], num_channels=3, qkv_bias=biases, num_labels=3, layer_norm_eps=1e-6)
        return hf.ViTForImageClassification(config), {'images': images, 'labels': labels}, labelled({'pixels': 'pixel_values', 'labels': 'labels'}, pixels=pixels, labels=labels), {'seq': 1}
    add('vit', lambda: one(True, 'gelu'))
    add('vit-no-biases', lambda: one(False, 'gelu_new'))


def resnet(layer, sizes, first=False, early=False, act='relu', training=False):
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    labels = torch.tensor([2, 1, -100, 0])
    images, pixels = pictures(3, 20, 16, 41, mean, std)

    def compute(model):
        model.train(training)
        found = model(pixel_values=pixels, labels=labels)
        results = {'logits': found.logits, 'loss': found.loss}
        return results | ({k: v.clone() for k, v in model.named_buffers() if 'running' in k} if training else {})
    config = hf.ResNetConfig(num_channels=3, embedding_size=4, hidden_sizes=sizes, depths=[2, 1], layer_type=layer, downsample_in_first_stage=first, downsample_in_bottleneck=early, hidden_act=act, num_labels=3)
    return hf.ResNetForImageClassification(config), {'images': images, 'labels': labels}, compute, {'seq': 1, 'options': {'height': 20, 'width': 16, 'mean': mean, 'std': std}}


for judge in (bert, roberta, t5, vit):
    judge()
add('resnet-basic', lambda: resnet('basic', [4, 6], act='gelu'))
add('resnet-bottleneck', lambda: resnet('bottleneck', [8, 12], True, True, 'silu'))


def in_training():
    """By the batch's statistics: only judged exactly, with the running ones that follow."""
    model, given, compute, settings = resnet('bottleneck', [8, 8], training=True)
    roughen(model)
    return model, given, compute, settings
