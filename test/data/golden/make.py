"""Makes the golden files beside it with Hugging Face's tokenizers 0.23.3: `pip install tokenizers && python make.py` (UTF-8 locale)."""
import itertools
import json
import random
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

here = Path(__file__).parent
corpus = (here / 'corpus.txt').read_text(encoding='utf-8')

tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
tokenizer.train_from_iterator([corpus], trainers.BpeTrainer(
    vocab_size=400, min_frequency=2, special_tokens=['<|endoftext|>'],
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
tokenizer.save(str(here / 'tokenizer.json'), pretty=False)

texts = [
    '', ' ', 'the', ' the government of the United States',
    "I've said it's theirs; they'll say we'd, don't you'RE 's 't",
    'in 1790, 12345678 dollars and 9½ cents (²Ⅷ٣)',
    'naïve café, coöperation: “quotes” — dashes… e\u0301',
    '漢字とかな 한국어 العربية हिन्दी',
    '👩‍👩‍👧‍👦 😀👍🏽 🇩🇪 ❤️',
    'tabs\t\tand\n\n\nlines \n  indented   far   ',
    'nel\u0085bom\ufeffzwsp\u200bnbsp\u00a0\u00a0ideographic\u3000line\u2028end',
    'one<|endoftext|>two <|endoftext|><|endoftext|>', '<|endoftext', '\x00\x01\x7f',
    'aaaaaaaaaaaaaaaaaaaaaaaaa', 'Antidisestablishmentarianism' * 3,
]
cases = [{'text': text, 'ids': tokenizer.encode(text).ids} for text in texts]
for case in cases:
    case['decoded'] = tokenizer.decode(case['ids'])
# Bytes that are no UTF-8 alone: halves of é and of an emoji.
halves = [[i] for i in tokenizer.encode('é😀').ids] + [tokenizer.encode('a😀b').ids[:-2] + tokenizer.encode('b').ids]
broken = [{'ids': ids, 'decoded': tokenizer.decode(ids)} for ids in halves]
lines = ',\n'.join(json.dumps(case, ensure_ascii=True) for case in cases)
more = ',\n'.join(json.dumps(case, ensure_ascii=True) for case in broken)
(here / 'ids.json').write_text(f'{{"cases": [\n{lines}\n],\n"broken": [\n{more}\n]}}\n', encoding='utf-8')

# Added tokens of every kind, and texts in which they stand beside each other, within words and among white space.
flags = [dict(zip(('single_word', 'lstrip', 'rstrip', 'normalized'), on)) for on in itertools.product((False, True), repeat=4)]
added = [AddedToken(content, special=special, **on) for content, special, on in [
    *((f'<t{i}>', i % 3 == 0, on) for i, on in enumerate(flags)),
    *((f'w{i}', False, on) for i, on in enumerate(flags)),
    ('<t1', False, {}), ('the', False, {'single_word': True}), ('  ', False, {'normalized': True}), ('漢字', False, {}), ('é', False, {}), ('[a.b*c]', True, {}), ('w1w', False, {}),
]]
tokenizer.add_tokens([t for t in added if not t.special])
tokenizer.add_special_tokens([t for t in added if t.special])
random.seed(1)
pieces = [t.content for t in added] + [' ', '  ', '\n', '\t ', '\u3000', 'a', '_', '9', 'the', '.', '漢', 'e\u0301', '\u200d', '😀', '<|endoftext|>', '<t']
texts = [' '.join(t.content for t in added), 'athe the thes the', *(''.join(random.choices(pieces, k=random.randint(1, 8))) for _ in range(160))]
cases = [{'text': text, 'ids': tokenizer.encode(text).ids} for text in texts]
lines = ',\n'.join(json.dumps(case, ensure_ascii=True) for case in cases)
listed = json.dumps(json.loads(tokenizer.to_str())['added_tokens'], ensure_ascii=True)
(here / 'added.json').write_text(f'{{"added": {listed},\n"cases": [\n{lines}\n]}}\n', encoding='utf-8')
