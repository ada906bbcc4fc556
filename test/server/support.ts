/** A server over a computation that stands for a model, with a tokenizer of eleven letters and one special token. */
import type { ChatTemplate, Tokenizer } from '../../src/data/index.ts'
import type { Answerer, AnswererOptions } from '../../src/serve/answerer.ts'
import { openServer, type OpenServer, type ServerOptions } from '../../src/server/index.ts'
import { constraints } from '../../src/serve/constraints/constrain.ts'
import { answererOf, computing, end, vocab } from '../serve/traces.ts'

const utf8 = new TextEncoder()
const special = '<|end|>'
const letter = (id: number): string => (id === end ? special : String.fromCharCode(97 + id))
const decode = (ids: Iterable<number>, withSpecial: boolean): string => [...ids].filter(id => withSpecial || id !== end).map(letter).join('')
export const tokenizer: Tokenizer = {
  model: undefined, tokens: Array.from({ length: vocab }, (_, id) => letter(id)), added: [{ id: end, special: true }], vocab, endOfText: end, before: [], after: [], format: () => '{}', bytes: id => (id === end ? 0 : 1),
  textOf: id => (id === end ? undefined : utf8.encode(letter(id))),
  encode: text => Int32Array.from(text.split(/(<\|end\|>)/).flatMap(part => (part === special ? [end] : [...part].map(c => c.charCodeAt(0) % (vocab - 1))))),
  encodeInto(text, out) { for (const id of this.encode(text)) out.push(id) },
  decode: (ids, options = {}) => decode(ids, options.special === true),
  stream: () => ({ push: id => decode([id], false), end: () => '' }),
}
const template: ChatTemplate = { render: (messages, { prompt }) => `${messages.map(m => `${m.role[0] ?? ''}${m.content}${special}`).join('')}${prompt === undefined ? '' : prompt[0] ?? ''}` }

/** A tokenizer of bytes, of the pieces that calls of tools are made of, and of tokens that mark turns. */
const pieces = ['<tool_call>', '</tool_call>', '{"name": "', '", "arguments": ', '{"', '": "', '"}']
const marks = ['<|end|>', '<|user|>', '<|assistant|>', '<|system|>', '<|tool|>', '<|sys|>']
const spelt = [...Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`), ...pieces, ...marks]
const bytesOf = (id: number): Uint8Array => (id < 256 ? Uint8Array.of(id) : utf8.encode(spelt[id]))
const textOf = (ids: Iterable<number>, special: boolean): string => new TextDecoder().decode(Uint8Array.from([...ids].filter(id => special || id < 256 + pieces.length).flatMap(id => [...bytesOf(id)])))
export const bytes: Tokenizer = {
  model: undefined, tokens: spelt, added: marks.map((_, i) => ({ id: 256 + pieces.length + i, special: true })), vocab: spelt.length, endOfText: 256 + pieces.length, before: [], after: [], format: () => '{}', bytes: id => (id < 256 + pieces.length ? bytesOf(id).length : 0),
  textOf: id => (id < 256 + pieces.length ? bytesOf(id) : undefined),
  encode: text => Int32Array.from(text.split(/(<\|(?:end|user|assistant|system|tool|sys)\|>)/).flatMap(part => (marks.includes(part) ? [256 + pieces.length + marks.indexOf(part)] : [...utf8.encode(part)]))),
  encodeInto(text, out) { for (const id of this.encode(text)) out.push(id) },
  decode: (ids, options = {}) => textOf(ids, options.special === true),
  stream: () => { const text = new TextDecoder(); return { push: id => (id < 256 + pieces.length ? text.decode(bytesOf(id), { stream: true }) : ''), end: () => text.decode() } },
}

export interface Served { readonly server: OpenServer; readonly answerer: Answerer; readonly steps: ReturnType<typeof computing>; readonly log: object[]; ask(path: string, body?: unknown, init?: RequestInit): Promise<Response> }

/** @param of another tokenizer and template than those of letters */
export async function served(options: Partial<ServerOptions> = {}, answererOptions: Partial<AnswererOptions> = {}, of?: { readonly tokenizer: Tokenizer; readonly template: ChatTemplate }): Promise<Served> {
  const sizes = { replicas: 1, requests: 4, blocks: of === undefined ? 64 : 256, block: of === undefined ? 4 : 16, context: of === undefined ? 64 : 512, chunk: 8 }
  const steps = computing(sizes, of?.tokenizer.vocab)
  const constrained = constraints(of?.tokenizer ?? tokenizer)
  const answerer = answererOf(sizes, { ...(of === undefined ? {} : { vocab: of.tokenizer.vocab, tokenizer: of.tokenizer, ends: [of.tokenizer.endOfText ?? 0], constrain: constraint => constrained.begin(constraint), context: 512 }), ...answererOptions }, steps)
  const log: object[] = []
  const server = await openServer({ models: [{ name: 'org/letters', created: 1, answering: answerer, tokenizer, template, ...of }], log: event => { log.push(event) }, ...options })
  const ask = (path: string, body?: unknown, init: RequestInit = {}): Promise<Response> =>
    fetch(`${server.url}${path}`, body === undefined ? init : { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body), ...init, headers: { 'content-type': 'application/json', ...init.headers } })
  return { server, answerer, steps, log, ask }
}

/** The objects of a stream, up to its end. */
export async function events(response: Response): Promise<{ readonly objects: readonly Record<string, unknown>[]; readonly done: boolean }> {
  const datas = (await response.text()).split('\n\n').filter(e => e !== '').map(e => e.replace(/^data: /, ''))
  return { objects: datas.filter(d => d !== '[DONE]').map(d => JSON.parse(d) as Record<string, unknown>), done: datas.at(-1) === '[DONE]' }
}
