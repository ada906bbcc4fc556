/** What a model's tokenizer makes of texts, and of ids. */
import { encodePrompt } from '../serve/generate.ts'
import type { Call } from './call.ts'
import { ApiError } from './errors.ts'
import { isWriter, modelNamed, type ServedModel } from './models.ts'
import { encodeMessages, messagesOf } from './prompt.ts'
import { detokenizeSchema, tokenizeSchema } from './schemas.ts'
import { tokenText } from './tokens.ts'

const windowOf = (model: ServedModel): number => (isWriter(model) ? model.answering.context : model.embedding.window)
const modelOf = (call: Call, name: string | null | undefined): ServedModel => (name === undefined || name === null ? call.models[0] as ServedModel : modelNamed(call.models, name))

/** POST /tokenize: of `prompt` (or llama.cpp's `content`), or of `messages`. */
export async function tokenize(call: Call): Promise<Response> {
  const { model: name, prompt, content, messages, add_special_tokens: special } = await call.read(tokenizeSchema)
  const model = modelOf(call, name)
  const { tokenizer } = model
  const template = isWriter(model) ? model.template : undefined
  const text = prompt ?? content
  if ((text === undefined) === (messages === undefined)) throw new ApiError(400, 'give prompt or messages', { param: 'prompt' })
  if (messages !== undefined && template === undefined) throw new ApiError(400, 'the model has no chat template', { param: 'messages' })
  const tokens = messages !== undefined && template !== undefined ? encodeMessages(tokenizer, template, { messages: messagesOf(messages) }) : special === false ? tokenizer.encode(text ?? '') : encodePrompt(tokenizer, text ?? '', { encoder: isWriter(model) && model.answering.encoder })
  return call.json({ tokens: [...tokens], count: tokens.length, max_model_len: windowOf(model), token_strs: [...tokens].map(id => tokenText(tokenizer, id)) })
}

/** POST /detokenize. */
export async function detokenize(call: Call): Promise<Response> {
  const { model: name, tokens } = await call.read(detokenizeSchema)
  const { tokenizer } = modelOf(call, name)
  const odd = tokens.find(id => id >= tokenizer.vocab)
  if (odd !== undefined) throw new ApiError(400, `there is no token ${odd}: ids are below ${tokenizer.vocab}`, { param: 'tokens' })
  return call.json({ prompt: tokenizer.decode(tokens, { special: true }) })
}

/** GET /tokenizer_info. */
export function tokenizerInfo(call: Call): Response {
  const model = modelOf(call, undefined)
  const { tokenizer } = model
  return call.json({ tokenizer_class: 'PreTrainedTokenizerFast', vocab_size: tokenizer.vocab, model_max_length: windowOf(model), eos_token: tokenizer.endOfText === undefined ? null : tokenizer.tokens[tokenizer.endOfText] ?? null })
}
