/** A server over a computation that stands for a model, with a tokenizer of eleven letters and one special token. */
import type { ChatTemplate, Tokenizer } from '../../src/data/index.ts'
import type { Answerer, AnswererOptions } from '../../src/serve/answerer.ts'
import { openServer, type OpenServer, type ServerOptions } from '../../src/server/index.ts'
import { answererOf, end, vocab } from '../serve/traces.ts'

const special = '<|end|>'
const letter = (id: number): string => (id === end ? special : String.fromCharCode(97 + id))
const decode = (ids: Iterable<number>, withSpecial: boolean): string => [...ids].filter(id => withSpecial || id !== end).map(letter).join('')
export const tokenizer: Tokenizer = {
  model: undefined, tokens: Array.from({ length: vocab }, (_, id) => letter(id)), added: [{ id: end, special: true }], vocab, endOfText: end, before: [], after: [], format: () => '{}', bytes: id => (id === end ? 0 : 1),
  encode: text => Int32Array.from(text.split(/(<\|end\|>)/).flatMap(part => (part === special ? [end] : [...part].map(c => c.charCodeAt(0) % (vocab - 1))))),
  encodeInto(text, out) { for (const id of this.encode(text)) out.push(id) },
  decode: (ids, options = {}) => decode(ids, options.special === true),
  stream: () => ({ push: id => decode([id], false), end: () => '' }),
}
const template: ChatTemplate = { render: (messages, { prompt }) => `${messages.map(m => `${m.role[0] ?? ''}${m.content}${special}`).join('')}${prompt === undefined ? '' : prompt[0] ?? ''}` }

export interface Served { readonly server: OpenServer; readonly answerer: Answerer; readonly log: object[]; ask(path: string, body?: unknown, init?: RequestInit): Promise<Response> }

export async function served(options: Partial<ServerOptions> = {}, answererOptions: Partial<AnswererOptions> = {}): Promise<Served> {
  const answerer = answererOf({ replicas: 1, requests: 4, blocks: 64, block: 4, context: 64, chunk: 8 }, answererOptions)
  const log: object[] = []
  const server = await openServer({ models: [{ name: 'org/letters', created: 1, answering: answerer, tokenizer, template }], log: event => { log.push(event) }, ...options })
  const ask = (path: string, body?: unknown, init: RequestInit = {}): Promise<Response> =>
    fetch(`${server.url}${path}`, body === undefined ? init : { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body), ...init, headers: { 'content-type': 'application/json', ...init.headers } })
  return { server, answerer, log, ask }
}

/** The objects of a stream, up to its end. */
export async function events(response: Response): Promise<{ readonly objects: readonly Record<string, unknown>[]; readonly done: boolean }> {
  const datas = (await response.text()).split('\n\n').filter(e => e !== '').map(e => e.replace(/^data: /, ''))
  return { objects: datas.filter(d => d !== '[DONE]').map(d => JSON.parse(d) as Record<string, unknown>), done: datas.at(-1) === '[DONE]' }
}
