/** Tools that a chat offers: what the model is told of them, what its answer must be, and which calls it makes. */
import { randomUUID } from 'node:crypto'
import type { Plain } from '../core/plain.ts'
import type { Message } from '../data/index.ts'
import { callForm, type ToolCalls } from '../serve/asking.ts'
import { ApiError } from './errors.ts'
import type { MessageRequest, ToolChoice, ToolRequest } from './schemas.ts'

/** What is offered, and what of it must be used. */
export interface Offered { readonly tools: readonly ToolRequest[]; readonly constraint: ToolCalls }

const refused = (param: string, message: string): ApiError => new ApiError(400, message, { param })

/** Undefined where nothing is offered, or nothing may be used. @throws ApiError */
export function offeredBy({ tools, tool_choice: choice, parallel_tool_calls: parallel }: { readonly tools?: readonly ToolRequest[] | null | undefined; readonly tool_choice?: ToolChoice | null | undefined; readonly parallel_tool_calls?: boolean | null | undefined }): Offered | undefined {
  const all = tools ?? []
  const names = all.map(t => t.function.name)
  for (const [i, { function: { parameters } }] of all.entries()) if ((parameters?.['type'] ?? 'object') !== 'object') throw refused(`tools.${i}.function.parameters`, 'arguments are an object: give a schema of type "object"')
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) throw refused('tools', `two tools are called "${twice}"`)
  if (all.length === 0) {
    if (choice !== undefined && choice !== null && choice !== 'none' && choice !== 'auto') throw refused('tool_choice', 'there are no tools to choose from')
    return undefined
  }
  if (choice === 'none') return undefined
  const wanted = typeof choice === 'object' && choice !== null ? choice.function.name : undefined
  const usable = wanted === undefined ? all : all.filter(t => t.function.name === wanted)
  if (usable.length === 0) throw refused('tool_choice', `there is no tool "${wanted}": there are ${names.map(n => `"${n}"`).join(', ')}`)
  return {
    tools: all,
    constraint: {
      type: 'tools', tools: usable.map(({ function: { name, parameters } }) => ({ name, schema: { type: 'object', ...parameters } })),
      required: choice === 'required' || wanted !== undefined, several: wanted === undefined && parallel !== false,
    },
  }
}

/** What a model is told whose template knows of no tools. */
const described = (tools: readonly ToolRequest[]): string => [
  'You may call functions to answer. They are:', '<tools>', ...tools.map(t => JSON.stringify(t)), '</tools>',
  'To call one, write its name and arguments as JSON:', `${callForm.open}`, `${callForm.name}"name"${callForm.arguments}{}${callForm.end}`, `${callForm.close}`,
].join('\n')
const written = ({ function: { name, arguments: given } }: NonNullable<MessageRequest['tool_calls']>[number]): string => `${callForm.open}\n${callForm.name}${JSON.stringify(name)}${callForm.arguments}${given}${callForm.end}\n${callForm.close}`

/** Whether a template shows tools, and in the form in which calls are read. */
const knowsTools = (source: string | undefined): boolean => source !== undefined && /\btools\b/.test(source) && source.includes(callForm.open)

/** A chat with its tools as a template takes them: told by itself where it knows them, or in words of ours. */
export function withTools(messages: readonly (Message & { readonly calls?: MessageRequest['tool_calls'] })[], offered: Offered | undefined, source: string | undefined): { readonly messages: readonly Message[]; readonly tools?: readonly Plain[] } {
  if (knowsTools(source)) {
    const shown = messages.map(({ calls, ...m }): Message => (calls === undefined || calls === null ? m : {
      ...m, tool_calls: calls.map(({ id, function: { name, arguments: given } }) => ({ ...(typeof id === 'string' ? { id } : {}), type: 'function', function: { name, arguments: parsed(given) } })),
    }))
    return { messages: shown, ...(offered === undefined ? {} : { tools: offered.tools as unknown as readonly Plain[] }) }
  }
  const plain = messages.map(({ role, content, calls }): Message => (role === 'tool' ? { role: 'user', content: `<tool_response>\n${content}\n</tool_response>` } : { role, content: [content, ...(calls ?? []).map(written)].filter(t => t !== '').join('\n') }))
  if (offered === undefined) return { messages: plain }
  const [first, ...rest] = plain
  const told = described(offered.tools)
  return { messages: first?.role === 'system' ? [{ ...first, content: `${first.content}\n\n${told}` }, ...rest] : [{ role: 'system', content: told }, ...plain] }
}
/** Arguments as templates want them: an object, where they are one. */
function parsed(text: string): Plain { try { return JSON.parse(text) as Plain } catch { return text } }

export interface Call { readonly id: string; readonly name: string; arguments: string }
/** What a piece of an answer's text brought. */
export type Piece = { readonly type: 'content'; readonly text: string } | { readonly type: 'call'; readonly index: number; readonly call: Call } | { readonly type: 'arguments'; readonly index: number; readonly text: string }

/** Reads the calls in an answer's text as it comes. What cannot be told yet from the beginning of a call is held back. */
export class CallReader {
  readonly calls: Call[] = []
  #text = ''
  #state: 'text' | 'name' | 'arguments' | 'close' = 'text'
  #depth = 0
  #quoted = false
  #escaped = false

  /** @param last whether nothing follows */
  push(text: string, last = false): Piece[] {
    this.#text += text
    const pieces: Piece[] = []
    for (let found = this.#next(last); found !== undefined; found = this.#next(last)) pieces.push(...found)
    return pieces
  }

  /** Undefined where more must come. */
  #next(last: boolean): Piece[] | undefined {
    if (this.#state === 'text') return this.#content(last)
    if (this.#state === 'name') {
      const found = /^\s*\{"name": ("(?:[^"\\]|\\.)*"), "arguments": /.exec(this.#text)
      if (found === null) return undefined
      const call: Call = { id: `call_${randomUUID().replaceAll('-', '').slice(0, 24)}`, name: JSON.parse(found[1] as string) as string, arguments: '' }
      this.calls.push(call)
      this.#text = this.#text.slice(found[0].length)
      this.#state = 'arguments'
      this.#depth = 0
      return [{ type: 'call', index: this.calls.length - 1, call }]
    }
    if (this.#state === 'arguments') return this.#arguments()
    const at = this.#text.indexOf(callForm.close)
    if (at < 0) return undefined
    this.#text = this.#text.slice(at + callForm.close.length)
    this.#state = 'text'
    return []
  }

  #content(last: boolean): Piece[] | undefined {
    const at = this.#text.indexOf(callForm.open)
    if (at >= 0) {
      const before = this.#text.slice(0, at)
      this.#text = this.#text.slice(at + callForm.open.length)
      this.#state = 'name'
      return this.#said(before.trimEnd())
    }
    let held = 0
    if (!last) for (let n = Math.min(this.#text.length, callForm.open.length - 1); n > held; n--) if (this.#text.endsWith(callForm.open.slice(0, n))) held = n
    // White space before a call belongs to nothing, nor does what stands between two.
    const certain = this.#text.slice(0, this.#text.length - held)
    const sure = last && this.calls.length === 0 ? certain : certain.trimEnd()
    if (sure === '') return undefined
    this.#text = this.#text.slice(sure.length)
    return this.#said(sure)
  }
  #said(text: string): Piece[] { return text === '' ? [] : [{ type: 'content', text }] }

  /** An object of JSON, up to the brace that closes it. */
  #arguments(): Piece[] | undefined {
    let i = 0
    for (; i < this.#text.length && this.#state === 'arguments'; i++) {
      const c = this.#text[i] as string
      if (this.#escaped) this.#escaped = false
      else if (this.#quoted) { if (c === '\\') this.#escaped = true; else if (c === '"') this.#quoted = false }
      else if (c === '"') this.#quoted = true
      else if (c === '{' || c === '[') this.#depth++
      else if (c === '}' || c === ']') {
        if (--this.#depth === 0) { i++; this.#state = 'close'; break }
      }
    }
    if (i === 0) return undefined
    const piece = this.#text.slice(0, i)
    this.#text = this.#text.slice(i)
    const index = this.calls.length - 1
    ;(this.calls[index] as Call).arguments += piece
    return [{ type: 'arguments', index, text: piece }]
  }
}

/** Calls as clients are told of them. */
export const callObjects = (calls: readonly Call[]): object[] => calls.map(({ id, name, arguments: given }) => ({ id, type: 'function', function: { name, arguments: given } }))
