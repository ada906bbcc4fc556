"""Chats by templates of real models as transformers renders them: templates.json.

    pip install transformers==5.24.0 jinja2==3.1.6
    python test/data/golden/templates.py FOLDERS_WITH_A_tokenizer_config.json ... FILE.gguf
"""
import json
import re
import sys
from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template

here = Path(__file__).parent
marked = re.compile(r'generation -?%}')
user, assistant, system = ({'role': r} for r in ('user', 'assistant', 'system'))
chats = [
    [user | {'content': 'What is the capital of France?'}],
    [system | {'content': 'You are terse.'}, user | {'content': ' Hi! <b>"é"</b> \n'}, assistant | {'content': 'Hello.'}, user | {'content': 'Why?\n\n'}, assistant | {'content': "I'm {{ not }} a template. {% if %}"}],
    [user | {'content': ''}, assistant | {'content': '漢字 🙂'}],
]
chatml = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'}}{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}{% else %}{{ message['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
spaced = "{{- bos_token }}\n{%- for m in messages %}\n    {%- if m.role == 'assistant' %}\n        {{- '[A] ' }}{%- generation -%}  {{ m.content | trim }}{{ eos_token }}  {%- endgeneration -%}\n    {%- else %}\n{{ '[' + m.role | upper ~ '] ' ~ m['content'] | trim }}\n    {% endif %}\n{%- endfor %}{{ messages | tojson }}{{ messages | map(attribute='role') | join(',') }}{% set ns = namespace(n=0) %}{% for i in range(2, 9, 3) %}{% set ns.n = ns.n + i %}{{ loop.index0 }}{% endfor %}{{ ns.n }}"
lines = "{% for m in messages %}\n[{{ m.role }}]\n  {% if m.role == 'assistant' %}\n  {% generation %}\n{{ m.content }}\n  {% endgeneration %}\n  {% else %}\n{{ m.content }}\n  {% endif %}\n{% endfor %}\n"
templates = {'lines': (lines, {}), 'chatml': (chatml, {}), 'spaced': (spaced, {'bos_token': '<s>', 'eos_token': '</s>'})}
for given in sys.argv[1:]:
    if given.endswith('.gguf'):
        from gguf import GGUFReader
        field = GGUFReader(given).fields['tokenizer.chat_template']
        templates['smollm2'] = (bytes(field.parts[field.data[0]]).decode(), {})
        continue
    config = json.loads((Path(given) / 'tokenizer_config.json').read_text())
    if config.get('chat_template') is None:
        continue
    tokens = {k: v if isinstance(v, str) else v['content'] for k, v in config.items() if k.endswith('_token') and isinstance(v, (str, dict))}
    templates[Path(given).parts[-3].split('tokenizer-')[-1]] = (config['chat_template'], tokens)
out = {}
for name, (template, variables) in templates.items():
    cases = []
    for chat in chats:
        for prompt in (False, True):
            try:
                [text], marks = render_jinja_template([chat], chat_template=template, add_generation_prompt=prompt, return_assistant_tokens_mask=marked.search(template) is not None, **variables)
            except Exception as e:
                cases.append({'chat': chat, 'prompt': prompt, 'refused': str(e)})
                continue
            cases.append({'chat': chat, 'prompt': prompt, 'text': text, **({'learnt': [text[a:b] for a, b in marks[0]]} if marked.search(template) is not None else {})})
    out[name] = {'template': template, 'variables': variables, 'cases': cases}
(here / 'templates.json').write_text(json.dumps(out, separators=(',', ':')) + '\n')
