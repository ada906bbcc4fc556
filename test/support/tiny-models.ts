/** Folders of tiny models in Hugging Face's layout, their weights drawn from a seed: what commands open as they open real ones. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

type Shapes = readonly (readonly [name: string, ...shape: number[]])[]

/** Numbers around 0, the same for a seed. */
function drawn(seed: number): () => number {
  let state = seed >>> 0 || 1
  return () => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9 | 0
    const mixed = Math.imul(state ^ (state >>> 13), 0x297a2d39)
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32 - 0.5
  }
}

/** A file of f32 tensors; norms' gains are around 1. */
function safetensors(shapes: Shapes, seed: number): Buffer {
  const next = drawn(seed)
  let end = 0
  const head: { [name: string]: object } = {}
  const parts: Buffer[] = []
  for (const [name, ...shape] of shapes) {
    const count = shape.reduce((n, s) => n * s, 1)
    const gain = /(norm|LayerNorm)\.weight$/.test(name)
    const scale = /embed|shared/.test(name) ? 2 : 1.5 / Math.sqrt(shape.at(-1) ?? 1)
    const data = Float32Array.from({ length: count }, () => (gain ? 1 + 0.2 * next() : 2 * scale * next()))
    head[name] = { dtype: 'F32', shape, data_offsets: [end, end + 4 * count] }
    end += 4 * count
    parts.push(Buffer.from(data.buffer))
  }
  const text = Buffer.from(JSON.stringify(head))
  const padded = Buffer.concat([text, Buffer.alloc((8 - text.length % 8) % 8, 32)])
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(padded.length))
  return Buffer.concat([size, padded, ...parts])
}

function folder(at: string, files: { readonly [name: string]: object | Buffer }): string {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(at, name)), { recursive: true })
    writeFileSync(join(at, name), Buffer.isBuffer(content) ? content : JSON.stringify(content))
  }
  return at
}

const specials = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
const letters = 'abcdefghijklmnopqrstuvwxyz'.split('')
export const bertWords: readonly string[] = ['the', 'people', 'of', 'nation', 'hold', 'these', 'words', 'to', 'be', 'good', 'bad', 'peace', 'war']
const vocabulary = [...specials, ...bertWords, ...letters, ...letters.map(l => `##${l}`), '.', ',']
/** BERT's WordPiece of a few words and all letters. */
export const wordPiece = {
  version: '1.0', truncation: null, padding: null,
  added_tokens: specials.map((content, id) => ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true })),
  normalizer: { type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true }, pre_tokenizer: { type: 'BertPreTokenizer' },
  post_processor: {
    type: 'TemplateProcessing', single: [{ SpecialToken: { id: '[CLS]', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '[SEP]', type_id: 0 } }],
    pair: [{ SpecialToken: { id: '[CLS]', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '[SEP]', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }, { SpecialToken: { id: '[SEP]', type_id: 1 } }],
    special_tokens: { '[CLS]': { id: '[CLS]', ids: [2], tokens: ['[CLS]'] }, '[SEP]': { id: '[SEP]', ids: [3], tokens: ['[SEP]'] } },
  },
  decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
  model: { type: 'WordPiece', unk_token: '[UNK]', continuing_subword_prefix: '##', max_input_chars_per_word: 100, vocab: Object.fromEntries(vocabulary.map((token, id) => [token, id])) },
}

const [embed, hidden] = [8, 16]
const dense = (name: string, out: number, from: number): Shapes => [[`${name}.weight`, out, from], [`${name}.bias`, out]]
const norm = (name: string): Shapes => [[`${name}.weight`, embed], [`${name}.bias`, embed]]
const encoder = (positions: number): Shapes => [
  ['bert.embeddings.word_embeddings.weight', vocabulary.length, embed], ['bert.embeddings.position_embeddings.weight', positions, embed], ['bert.embeddings.token_type_embeddings.weight', 2, embed], ...norm('bert.embeddings.LayerNorm'),
  ...['query', 'key', 'value'].flatMap(part => dense(`bert.encoder.layer.0.attention.self.${part}`, embed, embed)), ...dense('bert.encoder.layer.0.attention.output.dense', embed, embed), ...norm('bert.encoder.layer.0.attention.output.LayerNorm'),
  ...dense('bert.encoder.layer.0.intermediate.dense', hidden, embed), ...dense('bert.encoder.layer.0.output.dense', embed, hidden), ...norm('bert.encoder.layer.0.output.LayerNorm'),
]
const bertConfig = (architecture: string, positions: number): object => ({
  model_type: 'bert', architectures: [architecture], vocab_size: vocabulary.length, hidden_size: embed, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: hidden, hidden_act: 'gelu',
  max_position_embeddings: positions, type_vocab_size: 2, layer_norm_eps: 1e-12, pad_token_id: 0,
})

/** Embeds sentences, as sentence-transformers lays such models out. */
export const tinyEmbedder = (at: string, { positions = 48, pooling = 'mean_tokens', normalised = true, seed = 1 }: { readonly positions?: number; readonly pooling?: string; readonly normalised?: boolean; readonly seed?: number } = {}): string => folder(at, {
  'config.json': bertConfig('BertModel', positions), 'tokenizer.json': wordPiece, 'model.safetensors': safetensors([...encoder(positions), ...dense('bert.pooler.dense', embed, embed)], seed),
  'modules.json': ['Transformer', 'Pooling', ...(normalised ? ['Normalize'] : [])].map((type, idx) => ({ idx, name: String(idx), path: idx === 0 ? '' : `${idx}_${type}`, type: `sentence_transformers.models.${type}` })) as object,
  '1_Pooling/config.json': { word_embedding_dimension: embed, [`pooling_mode_${pooling}`]: true },
})

/** Tells two classes, of texts and of pairs. */
export const tinyClassifier = (at: string, { positions = 48, labels = ['bad', 'good'], seed = 2 }: { readonly positions?: number; readonly labels?: readonly string[]; readonly seed?: number } = {}): string => folder(at, {
  'config.json': { ...bertConfig('BertForSequenceClassification', positions), id2label: Object.fromEntries(labels.map((label, i) => [i, label])), label2id: Object.fromEntries(labels.map((label, i) => [label, i])) },
  'tokenizer.json': wordPiece, 'model.safetensors': safetensors([...encoder(positions), ...dense('bert.pooler.dense', embed, embed), ...dense('classifier', labels.length, embed)], seed),
})

/** Finds masked tokens. */
export const tinyMasked = (at: string, { positions = 48, seed = 3 }: { readonly positions?: number; readonly seed?: number } = {}): string => folder(at, {
  'config.json': bertConfig('BertForMaskedLM', positions), 'tokenizer.json': wordPiece,
  'model.safetensors': safetensors([...encoder(positions), ...dense('cls.predictions.transform.dense', embed, embed), ...norm('cls.predictions.transform.LayerNorm'), ['cls.predictions.bias', vocabulary.length]], seed),
})

/** GPT-2's characters for bytes. */
const byteLetters = ((): readonly string[] => {
  const plain = Array.from({ length: 256 }, (_, b) => b).filter(b => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174)
  let others = 0
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(plain.includes(b) ? b : 256 + others++))
})()
const llamaSpecials = ['<|endoftext|>', '<|im_start|>', '<|im_end|>']
const llamaTokens = [...llamaSpecials, ...byteLetters, 'Ġt', 'Ġth', 'Ġthe', 'Ġa']
/** A byte-level BPE of four merges. */
export const byteLevel = {
  version: '1.0', truncation: null, padding: null,
  added_tokens: llamaSpecials.map((content, id) => ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true })),
  normalizer: null, pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }, post_processor: null, decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
  model: { type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, vocab: Object.fromEntries(llamaTokens.map((token, id) => [token, id])), merges: ['Ġ t', 'Ġt h', 'Ġth e', 'Ġ a'] },
}
const vocab = 264
const chatTemplate = '{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}'

/** Adapters of a `tinyLlama`, as peft writes them. */
export const tinyAdapters = (at: string, base: string, { rank = 2, seed = 9 }: { readonly rank?: number; readonly seed?: number } = {}): string => folder(at, {
  'adapter_config.json': { peft_type: 'LORA', task_type: 'CAUSAL_LM', base_model_name_or_path: base, r: rank, lora_alpha: 8 * rank, target_modules: ['q_proj', 'o_proj'], lora_dropout: 0, bias: 'none', fan_in_fan_out: false },
  'adapter_model.safetensors': safetensors(['q', 'o'].flatMap((part): Shapes => [[`base_model.model.model.layers.0.self_attn.${part}_proj.lora_A.weight`, rank, embed], [`base_model.model.model.layers.0.self_attn.${part}_proj.lora_B.weight`, embed, rank]]), seed),
})

/** Writes text and answers, with a chat template. Its vocabulary is longer than its tokenizer's. */
export const tinyLlama = (at: string, { positions = 64, seed = 4 }: { readonly positions?: number; readonly seed?: number } = {}): string => folder(at, {
  'config.json': {
    model_type: 'llama', architectures: ['LlamaForCausalLM'], vocab_size: vocab, hidden_size: embed, num_hidden_layers: 1, num_attention_heads: 2, num_key_value_heads: 2, intermediate_size: hidden, hidden_act: 'silu',
    max_position_embeddings: positions, rms_norm_eps: 1e-5, rope_theta: 10000, tie_word_embeddings: false, bos_token_id: 0, eos_token_id: 2,
  },
  'tokenizer.json': byteLevel, 'tokenizer_config.json': { eos_token: '<|im_end|>', bos_token: null }, 'chat_template.jinja': Buffer.from(chatTemplate),
  'model.safetensors': safetensors([
    ['model.embed_tokens.weight', vocab, embed], ['model.norm.weight', embed], ['lm_head.weight', vocab, embed],
    ...['q', 'k', 'v', 'o'].map((part): readonly [string, number, number] => [`model.layers.0.self_attn.${part}_proj.weight`, embed, embed]),
    ['model.layers.0.mlp.gate_proj.weight', hidden, embed], ['model.layers.0.mlp.up_proj.weight', hidden, embed], ['model.layers.0.mlp.down_proj.weight', embed, hidden],
    ['model.layers.0.input_layernorm.weight', embed], ['model.layers.0.post_attention_layernorm.weight', embed],
  ], seed),
})

const t5Specials = ['<pad>', '</s>', '<unk>']
const t5Tokens = [...t5Specials, ...llamaTokens.slice(llamaSpecials.length)]
/** The same bytes and merges behind T5's special tokens; a text ends with `</s>`. */
export const t5Bytes = {
  ...byteLevel, added_tokens: t5Specials.map((content, id) => ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true })),
  model: { ...byteLevel.model, vocab: Object.fromEntries(t5Tokens.map((token, id) => [token, id])) },
  post_processor: { type: 'TemplateProcessing', single: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '</s>', type_id: 0 } }], pair: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '</s>', type_id: 0 } }, { Sequence: { id: 'B', type_id: 0 } }, { SpecialToken: { id: '</s>', type_id: 0 } }], special_tokens: { '</s>': { id: '</s>', ids: [1], tokens: ['</s>'] } } },
}
const heads = 4
const t5Attention = (layer: string, kind: string): Shapes => [...['q', 'k', 'v'].map((part): readonly [string, number, number] => [`${layer}.${kind}.${part}.weight`, heads * 2, embed]), [`${layer}.${kind}.o.weight`, embed, heads * 2], [`${layer}.layer_norm.weight`, embed]]
const t5Feed = (layer: string): Shapes => [[`${layer}.DenseReluDense.wi_0.weight`, hidden, embed], [`${layer}.DenseReluDense.wi_1.weight`, hidden, embed], [`${layer}.DenseReluDense.wo.weight`, embed, hidden], [`${layer}.layer_norm.weight`, embed]]
const t5Bias = (side: string): readonly [string, number, number] => [`${side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`, 8, heads]

/** Reads a text and answers it, without a chat template: version 1.1. */
export const tinyT5 = (at: string, { positions = 64, seed = 5 }: { readonly positions?: number; readonly seed?: number } = {}): string => folder(at, {
  'config.json': {
    model_type: 't5', architectures: ['T5ForConditionalGeneration'], is_encoder_decoder: true, vocab_size: t5Tokens.length, d_model: embed, d_kv: 2, d_ff: hidden, num_layers: 1, num_decoder_layers: 1, num_heads: heads, feed_forward_proj: 'gated-gelu', tie_word_embeddings: false,
    relative_attention_num_buckets: 8, relative_attention_max_distance: 16, n_positions: positions, pad_token_id: 0, eos_token_id: 1, decoder_start_token_id: 0,
  },
  'tokenizer.json': t5Bytes,
  'model.safetensors': safetensors([
    ['shared.weight', t5Tokens.length, embed], ['lm_head.weight', t5Tokens.length, embed], ['encoder.final_layer_norm.weight', embed], ['decoder.final_layer_norm.weight', embed], t5Bias('encoder'), t5Bias('decoder'),
    ...t5Attention('encoder.block.0.layer.0', 'SelfAttention'), ...t5Feed('encoder.block.0.layer.1'), ...t5Attention('decoder.block.0.layer.0', 'SelfAttention'), ...t5Attention('decoder.block.0.layer.1', 'EncDecAttention'), ...t5Feed('decoder.block.0.layer.2'),
  ], seed),
})
