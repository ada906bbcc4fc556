/** Chat templates that models come with: Jinja, as transformers' apply_chat_template renders it. A template is data: it can only make text, and only so much of it. */
import * as jinja from '@huggingface/jinja'
import { DataError } from '../../core/errors.ts'
import type { Message } from '../documents.ts'
import type { Plain as Json } from '../../core/plain.ts'

/** As much of the library as is used; its own types do not resolve. */
interface Scope { set(name: string, value: unknown): unknown }
interface Runner { run(program: object): { readonly value: unknown }; evaluate(statement: object | undefined, scope: Scope): { readonly value: unknown } }
const { Environment, Interpreter, parse, tokenize } = jinja as unknown as {
  readonly Environment: new () => Scope
  readonly Interpreter: new (scope: Scope) => Runner
  readonly parse: (tokens: object) => object
  readonly tokenize: (text: string, options: { readonly lstrip_blocks: boolean; readonly trim_blocks: boolean }) => object
}

export interface RenderOptions {
  /** Ends with what a model is given before it answers. */
  readonly addGenerationPrompt?: boolean
  /** By their names in a template: `bos_token`, `eos_token` and what else a tokenizer's configuration has; `tools`, `documents`, `enable_thinking`. */
  readonly variables?: { readonly [name: string]: Json }
  /** What a template that asks for the date is told. */
  readonly now?: Date
}

/** A template must be shorter; what it makes may be so long, and it may take so many steps, each and for each message. */
const [longestTemplate, longestText, mostItems, mostSteps, stepsPerMessage] = [2 ** 17, 2 ** 24, 2 ** 12, 2 ** 16, 2 ** 10]
/** Milliseconds it may take, and more for each message: whoever serves others waits for it. */
const [mostTime, timePerMessage] = [1000, 10]
/** White space that a template has in one place: patterns that look for its end go through it again and again. */
const longestSpace = 2 ** 11

type Fix = 'template' | 'messages'
const wrong = (what: string, reason: string, fix: Fix, cause?: unknown): DataError => new DataError({
  code: 'chat-template', what, details: { reason }, fix: fix === 'template' ? 'give another chat template' : 'give the chat as its template wants it, or another template', ...cause === undefined ? {} : { cause },
})

/** What a template says of the messages themselves, as `raise_exception`. */
class Raised extends Error {}
class TooMuch extends Error {}

/** Counts steps, and looks at what each of them made. */
class Bounded extends Interpreter {
  #left: number
  /** Messages that there are: lists of them may be as long. */
  readonly #given: number
  readonly #until: number
  constructor(environment: Scope, messages: number) {
    super(environment)
    this.#left = mostSteps + stepsPerMessage * messages
    this.#given = messages
    this.#until = performance.now() + mostTime + timePerMessage * messages
  }

  override evaluate(statement: object | undefined, scope: Scope): { readonly value: unknown } {
    if (--this.#left < 0 || performance.now() > this.#until) throw new TooMuch('it does not come to an end')
    const made = super.evaluate(statement, scope)
    const { value } = made
    if (typeof value === 'string' && value.length > longestText) throw new TooMuch(`it makes a text of ${value.length} characters`)
    if (Array.isArray(value) && value.length > Math.max(mostItems, this.#given)) throw new TooMuch(`it makes a list of ${value.length}`)
    return made
  }
}

const months = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December']
const days = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']
const two = (n: number): string => String(n).padStart(2, '0')
/** C's strftime, in English. */
const dateParts: { readonly [part: string]: (d: Date) => string } = {
  Y: d => String(d.getFullYear()), y: d => two(d.getFullYear() % 100), m: d => two(d.getMonth() + 1), d: d => two(d.getDate()), e: d => String(d.getDate()).padStart(2, ' '), B: d => months[d.getMonth()] ?? '', b: d => (months[d.getMonth()] ?? '').slice(0, 3),
  A: d => days[d.getDay()] ?? '', a: d => (days[d.getDay()] ?? '').slice(0, 3), H: d => two(d.getHours()), I: d => two(d.getHours() % 12 === 0 ? 12 : d.getHours() % 12), M: d => two(d.getMinutes()), S: d => two(d.getSeconds()), p: d => (d.getHours() < 12 ? 'AM' : 'PM'), '%': () => '%',
}
const dated = (now: Date, format: string): string => format.replace(/%(.)/g, (whole, part: string) => (Object.hasOwn(dateParts, part) ? dateParts[part]?.(now) ?? whole : whole))

function numbers(start: number, stop?: number, step = 1): number[] {
  const [from, to] = stop === undefined ? [0, start] : [start, stop]
  const count = Math.max(0, Math.ceil((to - from) / step))
  // Of a step of 0 there would be no end.
  if (!(count <= mostItems)) throw new TooMuch(`it counts ${count} numbers`)
  return Array.from({ length: count }, (_, i) => from + i * step)
}

/** A template that is ready to render. */
export interface ChatProgram {
  /** @throws DataError where the template does not take these messages, or does not come to an end */
  render(messages: readonly Message[], options?: RenderOptions): string
  /** The text cut where what stands between `{% generation %}` and `{% endgeneration %}` begins and ends; undefined where the template has no such marks. */
  marked: ((messages: readonly Message[], options?: RenderOptions) => readonly { readonly text: string; readonly learnt: boolean }[]) | undefined
}

// Characters that Unicode keeps free for private use: a message that has them in this order is refused.
const [opens, closes] = ['\uf8f0\ue0a1\uf8f1', '\uf8f0\ue0a2\uf8f1']
const marks = /\{%(-?)\s*(end)?generation\s*(-?)%\}/g

/** @throws DataError where it is no template of Jinja, or a huge one */
export function compileTemplate(template: string, where = 'the chat template'): ChatProgram {
  if (template.length > longestTemplate) throw wrong(`${where} is no template that can be used`, `it has ${template.length} characters; there may be ${longestTemplate}`, 'template')
  if (new RegExp(`\\s{${longestSpace}}`).test(template)) throw wrong(`${where} is no template that can be used`, `it has ${longestSpace} white spaces in one place`, 'template')
  const parsed = (text: string): object => {
    try {
      // As transformers sets them.
      return parse(tokenize(text, { lstrip_blocks: true, trim_blocks: true }))
    } catch (cause) {
      throw wrong(`${where} is no template that can be used`, reasonOf(cause), 'template', cause)
    }
  }
  const plain = parsed(template)
  const run = (program: object, messages: readonly Message[], { addGenerationPrompt = false, variables = {}, now = new Date() }: RenderOptions): string => {
    const environment = new Environment()
    const set = (name: string, value: unknown): void => { environment.set(name, value) }
    for (const [names, value] of [[['true', 'True'], true], [['false', 'False'], false], [['none', 'None'], null]] as const) for (const name of names) set(name, value)
    const given: { readonly [name: string]: unknown } = {
      ...variables, messages, add_generation_prompt: addGenerationPrompt, range: numbers, strftime_now: (format: string) => dated(now, format), raise_exception: (text: unknown) => { throw new Raised(String(text)) },
      [opened]: opens, [closed]: closes,
    }
    for (const [name, value] of Object.entries(given)) set(name, value)
    try {
      const made = new Bounded(environment, messages.length).run(program).value
      return typeof made === 'string' ? made : ''
    } catch (cause) {
      throw wrong(cause instanceof Raised ? `${where} refuses the chat` : `${where} cannot be rendered`, reasonOf(cause), cause instanceof TooMuch ? 'template' : 'messages', cause)
    }
  }
  // A block in a mark's place, since what blocks take of the white space around them is taken by marks too.
  const withMarks = marks.test(template) ? parsed(template.replace(marks, (_, left: string, end: string | undefined, right: string) => `{%${left} if true %}{{ ${end === undefined ? opened : closed} }}{% endif ${right}%}`)) : undefined
  return {
    render: (messages, options = {}) => run(plain, messages, options),
    marked: withMarks === undefined ? undefined : (messages, options = {}) => {
      if (messages.some(m => [opens, closes].some(mark => m.content.includes(mark)))) throw wrong(`${where} cannot be rendered`, 'a message has the characters that mark what is learnt', 'messages')
      return run(withMarks, messages, options).split(opens).flatMap((part, i) => {
        const [inside = '', ...outside] = i === 0 ? ['', part] : part.split(closes)
        return [{ text: inside, learnt: true }, { text: outside.join(''), learnt: false }].filter(p => p.text !== '')
      })
    },
  }
}
const [opened, closed] = ['__generation_begins', '__generation_ends']

const reasonOf = (cause: unknown): string => (cause instanceof RangeError && /call stack/.test(cause.message) ? 'it is nested too deeply' : cause instanceof Error ? cause.message : String(cause)).slice(0, 300)

/** A chat as text. @throws DataError where the template is none, or does not take these messages */
export const renderChat = (template: string, messages: readonly Message[], options: RenderOptions = {}): string => compileTemplate(template).render(messages, options)
