"""Small tokenizers of every kind that is read, with the ids and texts that Hugging Face's Rust gives: general.json.

    pip install tokenizers==0.23.3
    python test/data/golden/general.py
"""
import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

here = Path(__file__).parent
corpus = (here / 'corpus.txt').read_text(encoding='utf-8')[:60000].split('\n')
words = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def over_bytes(pre, normalizer=None, processor=None, **options):
    t = Tokenizer(models.BPE(**options))
    t.pre_tokenizer = pre
    if normalizer is not None:
        t.normalizer = normalizer
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=330, special_tokens=['<|endoftext|>', '<|im_start|>', '<|im_end|>'], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    if processor is not None:
        t.post_processor = processor
    return t


def sentence_piece(prepend):
    t = Tokenizer(models.BPE(unk_token='<unk>', fuse_unk=True, byte_fallback=True))
    steps = [normalizers.Prepend('▁')] if prepend else []
    t.normalizer = normalizers.Sequence([*steps, normalizers.Replace(' ', '▁')])
    t.decoder = decoders.Sequence([decoders.Replace('▁', ' '), decoders.ByteFallback(), decoders.Fuse(), *([decoders.Strip(' ', 1, 0)] if prepend else [])])
    if not prepend:
        t.pre_tokenizer = pre_tokenizers.Split(' ', 'merged_with_previous')
    special = ['<unk>', '<s>', '</s>', *[f'<0x{b:02X}>' for b in range(256)]]
    # Learnt word by word, and applied to whole texts.
    learner = Tokenizer(models.BPE(unk_token='<unk>'))
    learner.pre_tokenizer = pre_tokenizers.Metaspace()
    learner.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=420, special_tokens=special, show_progress=False))
    learnt = json.loads(learner.to_str())['model']
    # As in the models that there are: what no merge makes comes last.
    made = [a + b for a, b in learnt['merges']]
    order = [*special, *made, *sorted(set(learnt['vocab']) - set(special) - set(made))]
    t.model = models.BPE({token: i for i, token in enumerate(order)}, [tuple(m) for m in learnt['merges']], unk_token='<unk>', fuse_unk=True, byte_fallback=True)
    t.add_special_tokens(special[:3])
    t.post_processor = processors.TemplateProcessing(single='<s> $A', pair='<s> $A <s> $B:1', special_tokens=[('<s>', 1)])
    return t


def unigram():
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(' {2,}'), ' '), normalizers.Strip(False, True)])
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.decoder = decoders.Metaspace()
    t.train_from_iterator(corpus, trainers.UnigramTrainer(vocab_size=250, special_tokens=['<pad>', '</s>', '<unk>'], unk_token='<unk>', show_progress=False))
    t.post_processor = processors.TemplateProcessing(single='$A </s>', pair='$A </s> $B </s>', special_tokens=[('</s>', 1)])
    return t


def word_piece():
    t = Tokenizer(models.WordPiece(unk_token='[UNK]'))
    t.normalizer = normalizers.BertNormalizer()
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    t.train_from_iterator(corpus, trainers.WordPieceTrainer(vocab_size=300, special_tokens=['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'], show_progress=False))
    t.post_processor = processors.BertProcessing(('[SEP]', 3), ('[CLS]', 2))
    return t


roberta = over_bytes(pre_tokenizers.ByteLevel(add_prefix_space=True))
roberta.add_special_tokens(['<s>', '</s>', AddedToken('<mask>', lstrip=True)])
roberta.post_processor = processors.RobertaProcessing(('</s>', 331), ('<s>', 330))
tokenizers = {
    'llama3': over_bytes(pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(words % '{1,3}'), 'isolated'), byte_level]), ignore_merges=True),
    'qwen2': over_bytes(pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(words % ''), 'isolated'), byte_level]), normalizers.NFC()),
    'smollm': over_bytes(pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)])),
    'roberta': roberta, 'llama': sentence_piece(True), 'gemma': sentence_piece(False), 'unigram': unigram(), 'bert': word_piece(),
}
texts = [
    '', ' ', '  ', '\n', '\r\n\r\n', 'Hello, world!', ' Hello', '  two  spaces  ', "I'm you're they'll WE'RE don't 'S 'tis", '123456789 1,234.5 ٣٤٥ ½ Ⅷ', 'déjà vu e\u0301 \u212b ﬁ', '漢字かな 한국어 ไทย हिन्दी',
    '🙂 👩‍👩‍👧 🇫🇷 ❤️', 'a\u200bb\u200d \ufeff x', '\u00a0nbsp\u2003em\u3000wide', '\t\n\r\n mixed \n\n\nend', '<|endoftext|><|im_start|>user\nhi<|im_end|>', 'x </s> <s>y <mask> z [MASK] [SEP]', '▁under ▁▁ _', '\x00\x01\x7f\x80',
    'x' * 120, 'ab ' * 30, 'def f(x):\n    return x+1  # ok\n', 'CamelCase snake_case-kebab', 'ÀÉÎÕÜ ßẞ İı Σς', '\u0300combining', '()[]{}<>!?.,;:\'"`~@#$%^&*-+=|\\/', '\u2028 \u2029 \u0085', '𝔘𝔫 𐍈 𠜎', '…—–‘’“”',
    'the people of these states, and the nation: 1790', 'Unaffable UNITED states',
]
out = {}
for name, t in tokenizers.items():
    cases = []
    for text in texts:
        ids = t.encode(text, add_special_tokens=False).ids
        cases.append({'text': text, 'ids': ids, 'with': t.encode(text).ids, 'decoded': t.decode(ids, skip_special_tokens=False), 'skipped': t.decode(ids)})
    out[name] = {'file': json.loads(t.to_str()), 'cases': cases}
(here / 'general.json').write_text(json.dumps(out, ensure_ascii=True, separators=(',', ':')) + '\n')
