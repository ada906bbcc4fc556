"""What others make of the tasks of `meshwork eval`, on tiny models, and of texts, labels and scores.

    python test/oracle/measure.py FOLDER        with transformers, torch, sacrebleu, scikit-learn and scipy; FOLDER is what test/serve/items.ts writes; judged.json is put there
"""
import json
import math
import os
import re
import string
import sys

import numpy as np
import sacrebleu
import torch
import torch.nn.functional as F
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, BertForMaskedLM, BertForSequenceClassification, BertModel

folder = sys.argv[1]
torch.set_num_threads(1)


def items(name):
    with open(os.path.join(folder, name), encoding='utf8') as f:
        return [json.loads(line) for line in f if line.strip()]


def tokenizer(name):
    return Tokenizer.from_file(os.path.join(folder, name, 'tokenizer.json'))


def open_model(kind, name):
    return kind.from_pretrained(os.path.join(folder, name), dtype=torch.float32).eval()


llama, llama_tok = open_model(AutoModelForCausalLM, 'llama'), tokenizer('llama')
window = llama.config.max_position_embeddings
tokens = len(json.load(open(os.path.join(folder, 'llama', 'tokenizer.json')))['model']['vocab'])


def log_probs(ids):
    with torch.no_grad():
        return torch.log_softmax(llama(torch.tensor([ids])).logits[0].double(), -1)


def windows(ids, counts, size, nbytes):
    for start in range(0, len(ids) - 1, size):
        end = min(start + size, len(ids) - 1)
        places = [i for i in range(start, end) if counts[i + 1]]
        if not places:
            continue
        found = log_probs(ids[start:end])
        yield {'tokens': len(places), 'loss': -sum(found[i - start, ids[i + 1]].item() for i in places), 'bytes': nbytes if start == 0 else 0}


def text_loss():
    for item in items('texts.jsonl'):
        ids = llama_tok.encode(item['text'], add_special_tokens=False).ids
        yield from windows(ids, [True] * len(ids), 32, len(item['text'].encode()))


def chat_loss():
    for item in items('chats.jsonl'):
        ids, counts, nbytes, text = [], [], 0, ''

        def put(part, learnt):
            found = llama_tok.encode(part, add_special_tokens=False).ids
            ids.extend(found)
            counts.extend([learnt] * len(found))
        for m in item['messages']:
            if m['role'] == 'assistant':
                put(text + '<|im_start|>assistant\n', False)
                put(m['content'] + '<|im_end|>', True)
                text = '\n'
            else:
                text += f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n"
        put(text, False)
        for w in windows(ids, counts, window, 0):
            yield {'tokens': w['tokens'], 'loss': w['loss']}


def masked_loss():
    model, tok = open_model(BertForMaskedLM, 'masked'), tokenizer('masked')
    cls, sep, mask = (tok.token_to_id(t) for t in ('[CLS]', '[SEP]', '[MASK]'))
    for item in items('plain.jsonl'):
        ids = tok.encode(item['text'], add_special_tokens=False).ids
        for start in range(0, len(ids), 18):
            part = ids[start:start + 18]
            loss = 0.0
            for i, target in enumerate(part):
                row = torch.tensor([[cls, *part[:i], mask, *part[i + 1:], sep]])
                with torch.no_grad():
                    loss -= torch.log_softmax(model(row).logits[0, i + 1].double(), -1)[target].item()
            yield {'tokens': len(part), 'loss': loss, 'bytes': len(item['text'].encode()) if start == 0 else 0}


def encode_pair(context, continuation):
    """lm-evaluation-harness, lm_eval/api/model.py, TemplateLM._encode_pair."""
    n_spaces = len(context) - len(context.rstrip())
    if n_spaces > 0:
        continuation = context[-n_spaces:] + continuation
        context = context[:-n_spaces]
    whole = llama_tok.encode(context + continuation, add_special_tokens=False).ids
    size = len(llama_tok.encode(context, add_special_tokens=False).ids)
    return whole[:size], whole[size:]


def choices():
    for item in items('choices.jsonl'):
        prompt = item['prompt'] if 'prompt' in item else '\n'.join(item[k] for k in ('context', 'question') if k in item)
        scores = []
        for choice in item['choices']:
            delimiter = '' if prompt == '' or prompt[-1].isspace() or choice[0].isspace() else ' '
            context, continuation = encode_pair(prompt, delimiter + choice) if prompt != '' else ([llama_tok.token_to_id('<|endoftext|>')], llama_tok.encode(choice, add_special_tokens=False).ids)
            row = (context + continuation)[-(window + 1):]
            found = log_probs(row[:-1])
            first = len(row) - 1 - len(continuation)
            scores.append(sum(found[first + i, t].item() for i, t in enumerate(continuation)))
        lengths = [len(c.encode()) for c in item['choices']]
        yield {'logprobs': scores, 'picked': int(np.argmax(scores)), 'picked_norm': int(np.argmax(np.array(scores) / lengths))}


def classes():
    model, tok = open_model(BertForSequenceClassification, 'classifier'), tokenizer('classifier')
    tok.no_padding()
    tok.enable_truncation(model.config.max_position_embeddings, strategy='longest_first')
    found, truth, told = [], [], []
    for item in items('labels.jsonl'):
        e = tok.encode(item['text'], item['pair']) if 'pair' in item else tok.encode(item['text'])
        with torch.no_grad():
            logits = model(torch.tensor([e.ids]), token_type_ids=torch.tensor([e.type_ids])).logits[0]
        truth.append(item['label'] if isinstance(item['label'], int) else model.config.label2id[item['label']])
        told.append(int(logits.argmax()))
        found.append({'logits': logits.tolist(), 'predicted': told[-1], 'label': truth[-1]})
    return found, {'accuracy': accuracy_score(truth, told), 'macro_f1': f1_score(truth, told, average='macro', zero_division=0)}


def pairs():
    model, tok = open_model(BertModel, 'embedder'), tokenizer('embedder')
    tok.no_padding()
    tok.enable_truncation(model.config.max_position_embeddings)

    def vector(text):
        with torch.no_grad():
            return F.normalize(model(torch.tensor([tok.encode(text).ids])).last_hidden_state[0].double().mean(0), dim=0)
    all_items = items('pairs.jsonl')
    cosines = [float(vector(i['a']) @ vector(i['b'])) for i in all_items]
    scores = [i['score'] for i in all_items]
    return [{'cosine': c} for c in cosines], {'pearson': pearsonr(cosines, scores)[0], 'spearman': spearmanr(cosines, scores)[0]}


def normalize_answer(s):
    """SQuAD's official evaluation, v1.1."""
    def remove_articles(text):
        return re.sub(r'\b(a|an|the)\b', ' ', text)

    def white_space_fix(text):
        return ' '.join(text.split())

    def remove_punc(text):
        exclude = set(string.punctuation)
        return ''.join(ch for ch in text if ch not in exclude)
    return white_space_fix(remove_articles(remove_punc(s.lower())))


def texts_metrics(outputs, answers):
    most = max(map(len, answers))
    references = [[a[i] if i < len(a) else None for a in answers] for i in range(most)]
    return {
        'exact_match': float(np.mean([any(normalize_answer(o) == normalize_answer(x) for x in a) for o, a in zip(outputs, answers)])),
        'bleu': sacrebleu.corpus_bleu(outputs, references).score, 'chrf': sacrebleu.corpus_chrf(outputs, references).score,
    }


def generated():
    outputs, answers = [], []
    for item in items('prompts.jsonl'):
        prompt = item['prompt'] if 'prompt' in item else ''.join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in item['messages']) + '<|im_start|>assistant\n'
        ids = llama_tok.encode(prompt, add_special_tokens=False).ids[-(window - 6 + 1):]
        made = []
        for _ in range(6):
            with torch.no_grad():
                found = int(llama(torch.tensor([ids + made])).logits[0, -1, :tokens].argmax())
            if found in (0, 2):
                break
            made.append(found)
        outputs.append(llama_tok.decode(made))
        answers.append([item['answer']] if 'answer' in item else item['answers'])
    return [{'output': o} for o in outputs], texts_metrics(outputs, answers)


hypotheses = [
    ['The cat sat on the mat.', ['The cat sat on the mat.', 'A cat is on the mat.']], ['It costs $1,234.56 -- or 12-13 %, doesn\'t it?', ['It costs $1,234.56 or 12-13 percent, does it not?']],
    ['the the the the', ['the cat']], ['', ['nothing was written']], ['Das ist ein „Test“ — naïve façade, Ünïcödé 東京.', ['Das war ein "Test": naive façade, Ünïcödé 東京 !', 'Ein Test.']],
    ['&quot;quoted&quot; &amp; &lt;tagged&gt;', ['"quoted" & <tagged>']], ['a b c d e f g', ['a b c x e f g h i j']], ['an answer  with\u00a0odd\x85space\x1cs', ['an answer with odd space s']], ['hyphen-\nated and\nbroken', ['hyphenated and broken']], ['3.14, 2.7 and .5 or 1,', ['3.14 , 2.7 and .5 or 1 ,']],
]
answers_squad = [['The Eiffel-Tower!', ['eiffeltower']], ['a  an the', ['']], ['Über the Áthe', ['über áthe']], ['don\'t', ['dont', 'do not']], ['42.', ['42']], ['theory', ['ory']]]
rng = np.random.default_rng(3)
truth, told = rng.integers(0, 5, 60), rng.integers(0, 4, 60)
truth[truth == 3] = 2
xs, ys = rng.normal(size=40).round(1), rng.integers(0, 6, 40).astype(float)


def of_texts(pairs):
    return texts_metrics([h for h, _ in pairs], [r for _, r in pairs])


metrics = {
    'texts': {'items': hypotheses, 'corpus': of_texts(hypotheses), 'each': [of_texts([h]) for h in hypotheses]},
    'answers': [[o, a, bool(any(normalize_answer(o) == normalize_answer(x) for x in a))] for o, a in answers_squad],
    'classes': {
        'truth': truth.tolist(), 'told': told.tolist(), 'confusion': confusion_matrix(truth, told, labels=range(6)).tolist(),
        'accuracy': accuracy_score(truth, told), 'macro_f1': f1_score(truth, told, average='macro', zero_division=0),
    },
    'correlation': {'x': xs.tolist(), 'y': ys.tolist(), 'pearson': pearsonr(xs, ys)[0], 'spearman': spearmanr(xs, ys)[0]},
}
(class_items, class_metrics), (pair_items, pair_metrics), (text_items, text_metrics) = classes(), pairs(), generated()
choice_items = list(choices())
right = [1, 1, 0, 0, 0]


def loss_of(found):
    total, count, size = sum(w['loss'] for w in found), sum(w['tokens'] for w in found), sum(w.get('bytes', 0) for w in found)
    return {'loss': total / count, 'perplexity': math.exp(total / count), **({'bits_per_byte': total / math.log(2) / size} if size else {})}


losses = {'loss': list(text_loss()), 'chats': list(chat_loss()), 'masked': list(masked_loss())}
tasks = {
    **{name: {'items': found, 'metrics': loss_of(found)} for name, found in losses.items()},
    'choice': {'items': choice_items, 'metrics': {'acc': float(np.mean([c['picked'] == a for c, a in zip(choice_items, right)])), 'acc_norm': float(np.mean([c['picked_norm'] == a for c, a in zip(choice_items, right)]))}},
    'classify': {'items': class_items, 'metrics': class_metrics}, 'embed': {'items': pair_items, 'metrics': pair_metrics}, 'generate': {'items': text_items, 'metrics': text_metrics},
}
with open(os.path.join(folder, 'judged.json'), 'w') as f:
    json.dump({'metrics': metrics, 'tasks': tasks}, f, indent=1, ensure_ascii=True)
    f.write('\n')
