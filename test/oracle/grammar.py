"""Token masks by llguidance along given walks: what may come next, and whether the answer may end.

    python test/oracle/grammar.py FOLDER        with llguidance 1.9.1; FOLDER has vocabulary.json (per token its bytes in hexadecimal, null for special ones) and walks.json, and gets masks.bin and judged.json
"""
import json
import os
import sys

import numpy as np
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper
from llguidance.gbnf_to_lark import gbnf_to_lark

folder, = sys.argv[1:]
given = json.load(open(os.path.join(folder, 'vocabulary.json')))
texts = given['texts']


class Tokens:
    eos_token_id = given['end']
    bos_token_id = None
    tokens = [f'<|special {i}|>'.encode() if text is None else bytes.fromhex(text) for i, text in enumerate(texts)]
    special_token_ids = [i for i, text in enumerate(texts) if text is None]

    def __call__(self, text):
        raise NotImplementedError


class Bytes(Tokens):
    """Only asked how to write texts as tokens: any way will do."""
    known = {text: i for i, text in enumerate(Tokens.tokens) if len(text) == 1}

    def __call__(self, text):
        return [self.known[bytes([b])] for b in (text if isinstance(text, bytes) else text.encode())]


tokenizer = LLTokenizer(TokenizerWrapper(Bytes()), n_vocab=len(texts), slices=[])


# A token that is forced may be written by shorter ones, too.
free = '%llguidance {"no_forcing": true}\n'


def grammar(kind, given):
    if kind == 'json':
        # Blanks are at most one with us, and any character may be written by its number.
        schema = {**({} if given is True else given), 'x-guidance': {'whitespace_pattern': ' ', 'json_allow_general_unicode_escapes': True}}
        return free + 'start: %json ' + json.dumps(schema)
    if kind == 'regex':
        return free + 'start: /%s/' % given.replace('/', '\\/')
    if kind == 'choice':
        return free + 'start: ' + ' | '.join(json.dumps(c, ensure_ascii=False) for c in given)
    return free + gbnf_to_lark(given)


words = (len(texts) + 31) // 32
judged = []
with open(os.path.join(folder, 'masks.bin'), 'wb') as out:
    for walk in json.load(open(os.path.join(folder, 'walks.json'))):
        matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_lark(grammar(walk['kind'], walk['given'])), log_level=0)
        if matcher.is_error():
            judged.append({'refused': matcher.get_error()})
            continue
        ends, failed = [], None
        for i in range(len(walk['tokens']) + 1):
            if matcher.is_stopped():
                # Only the end may come.
                mask = np.zeros(words, np.uint32)
                ends.append(True)
            else:
                mask = np.frombuffer(matcher.compute_bitmask(), np.uint32)[:words]
                ends.append(matcher.is_accepting())
            if matcher.is_error():
                failed = matcher.get_error()
                break
            out.write(mask.tobytes())
            if i < len(walk['tokens']) and not matcher.consume_token(walk['tokens'][i]):
                failed = 'it does not take the token that we do'
                break
        judged.append({'ends': ends, **({} if failed is None else {'failed': failed})})
json.dump(judged, open(os.path.join(folder, 'judged.json'), 'w'))
