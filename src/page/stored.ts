/** Conversations as JSON: what is kept in the browser, and what is exported. What others wrote is checked field by field. */
import { usual, type About, type Conversation, type Ending, type Lane, type Likely, type Message, type Piece, type Settings, type Token } from './conversation.ts'

const format = 'meshwork-conversation'
type Fields = Readonly<Record<string, unknown>>

export class NotAConversation extends Error {
  override readonly name = 'NotAConversation'
}
function refuse(where: string): never { throw new NotAConversation(`This is no conversation of Meshwork: ${where}.`) }

const fields = (value: unknown, where: string): Fields => (typeof value === 'object' && value !== null && !Array.isArray(value) ? value as Fields : refuse(`${where} is no object`))
const list = (value: unknown, where: string): readonly unknown[] => (Array.isArray(value) ? value : refuse(`${where} is no list`))
const text = (value: unknown, where: string): string => (typeof value === 'string' ? value : refuse(`${where} is no text`))
const number = (value: unknown, where: string): number => (typeof value === 'number' && Number.isFinite(value) ? value : refuse(`${where} is no number`))
const within = (value: unknown, from: number, to: number, where: string): number => { const x = number(value, where); return x >= from && x <= to ? x : refuse(`${where} is not between ${from} and ${to}`) }

function likely(value: unknown, where: string): Likely {
  const [token, logprob] = list(value, where)
  return { token: text(token, where), logprob: number(logprob, where) }
}
function token(value: unknown, where: string): Token {
  const [spelt, logprob, top] = list(value, where)
  return { ...likely([spelt, logprob], where), top: list(top, where).map(t => likely(t, where)) }
}
function piece(value: unknown, where: string): Piece {
  const [own, tokens] = list(value, where)
  return { text: text(own, where), tokens: list(tokens, where).map(t => token(t, where)) }
}
/** Numbers are short, and tokens lists: there are many of them. */
const written = ({ text: own, tokens }: Piece): unknown => [own, tokens.map(t => [t.token, rounded(t.logprob), t.top.map(l => [l.token, rounded(l.logprob)])])]
const rounded = (x: number): number => Math.round(x * 1e4) / 1e4

const endings: readonly string[] = ['writing', 'stopped', 'failed', 'stop', 'length'] satisfies readonly Ending[]
const optional = ['step', 'promptTokens', 'cachedTokens', 'first', 'all'] as const
function about(value: unknown, where: string): About {
  const of = fields(value, where)
  const ending = text(of['ending'], `${where}.ending`)
  if (!endings.includes(ending)) refuse(`${where}.ending is "${ending}"`)
  return {
    // What was being written when the page was left is written no more.
    model: text(of['model'], `${where}.model`), ending: ending === 'writing' ? 'stopped' : ending as Ending, seed: number(of['seed'], `${where}.seed`), tokens: number(of['tokens'], `${where}.tokens`),
    ...(of['error'] === undefined ? {} : { error: text(of['error'], `${where}.error`) }), ...Object.fromEntries(optional.flatMap(name => (of[name] === undefined ? [] : [[name, number(of[name], `${where}.${name}`)]]))),
  }
}

function lane(value: unknown, where: string): Lane {
  const of = fields(value, where)
  const all = list(of['messages'], `${where}.messages`)
  const place = (x: unknown, from: number, to: number, name: string): number => (Number.isInteger(x) ? within(x, from, to, name) : refuse(`${name} is no place of a message`))
  const messages = all.map((m, i): Message => {
    const at = `${where}.messages.${i}`
    const own = fields(m, at)
    // Each follows one that came before it, so that there are no circles, and prompts and answers take turns.
    const parent = place(own['parent'], -1, i - 1, `${at}.parent`)
    const before = parent < 0 ? 'assistant' : fields(all[parent], at)['role']
    const role = text(own['role'], `${at}.role`)
    if ((role !== 'user' && role !== 'assistant') || role === before) refuse(`${at}.role is "${role}"`)
    return {
      role: role as Message['role'], text: text(own['text'], `${at}.text`), parent, shown: place(own['shown'], -1, all.length - 1, `${at}.shown`),
      ...(own['pieces'] === undefined ? {} : { pieces: list(own['pieces'], `${at}.pieces`).map(p => piece(p, `${at}.pieces`)) }), ...(own['about'] === undefined ? {} : { about: about(own['about'], `${at}.about`) }),
    }
  })
  const shown = place(of['shown'], -1, all.length - 1, `${where}.shown`)
  const follows = (child: number, parent: number): boolean => child < 0 || messages[child]?.parent === parent
  if (!follows(shown, -1) || messages.some((m, i) => !follows(m.shown, i))) refuse(`${where} shows what does not follow`)
  return { model: text(of['model'], `${where}.model`), messages, shown }
}

function settings(value: unknown): Settings {
  const of = fields(value, 'settings')
  const whole = (x: unknown, from: number, where: string): number | null => (x === null ? null : Number.isInteger(x) ? within(x, from, Number.MAX_SAFE_INTEGER, where) : refuse(`${where} is no whole number`))
  return {
    temperature: within(of['temperature'], 0, 2, 'settings.temperature'), topP: within(of['topP'], 0, 1, 'settings.topP'), maxTokens: whole(of['maxTokens'], 1, 'settings.maxTokens'), seed: whole(of['seed'], 0, 'settings.seed'),
    probabilities: of['probabilities'] === undefined ? usual.probabilities : of['probabilities'] === true,
  }
}

/** @param withTokens whether the tokens of answers are kept, which take much room */
export const toJson = ({ system, settings: chosen, lanes }: Conversation, { withTokens = true, indent = 0 } = {}): string => JSON.stringify({
  format, version: 1, system, settings: chosen,
  lanes: lanes.map(({ model, shown, messages }) => ({ model, shown, messages: messages.map(({ pieces, ...m }) => ({ ...m, ...(pieces === undefined || !withTokens ? {} : { pieces: pieces.map(written) }) })) })),
}, undefined, indent)

/** @throws NotAConversation with what is wrong */
export function fromJson(json: string): Conversation {
  let value: unknown
  try { value = JSON.parse(json) } catch { return refuse('it is not JSON') }
  const of = fields(value, 'it')
  if (of['format'] !== format || of['version'] !== 1) refuse(`its format is not "${format}", version 1`)
  const lanes = list(of['lanes'], 'lanes')
  if (lanes.length < 1 || lanes.length > 2) refuse(`it has ${lanes.length} lanes`)
  return { system: text(of['system'], 'system'), settings: settings(of['settings']), lanes: lanes.map((l, i) => lane(l, `lanes.${i}`)) }
}
