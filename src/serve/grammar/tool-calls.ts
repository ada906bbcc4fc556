/** Calls of tools as a grammar: text in which a call may begin, and calls whose arguments are as their schemas say. */
import { callForm, type ToolCalls } from '../asking.ts'
import { any, literal, maybe, nothing, rule, seq, wrong, type Expr } from './expr.ts'
import { jsonRules } from './json.ts'
import { schemaRules } from './json-schema.ts'

const utf8 = new TextEncoder()

/** A schema's rules under names of their own: those that all of JSON has are shared. */
function named(rules: ReadonlyMap<string, Expr>, prefix: string): [string, Expr][] {
  const renamed = (e: Expr): Expr => {
    if (e.op === 'rule') return jsonRules.has(e.name) ? e : rule(`${prefix}${e.name}`)
    if (e.op === 'repeat') return { ...e, item: renamed(e.item) }
    return e.op === 'bytes' ? e : { ...e, items: e.items.map(renamed) }
  }
  return [...rules].filter(([name]) => !jsonRules.has(name)).map(([name, e]) => [`${prefix}${name}`, renamed(e)])
}

/**
 * Rules `text 0`, `text 1`, … of texts in which so many bytes of `mark` have come last: once all have, `then` follows (Knuth, Morris & Pratt 1977).
 * Of several bytes at once none is left open: each leads to the longest beginning of the mark that it ends.
 */
function textUntil(mark: string, then: Expr): [string, Expr][] {
  const bytes = [...utf8.encode(mark)]
  const longest = (found: readonly number[]): number => { for (let n = Math.min(found.length, bytes.length - 1); n > 0; n--) if (bytes.slice(0, n).every((b, i) => b === found[found.length - n + i])) return n; return 0 }
  return bytes.map((_, at): [string, Expr] => {
    const to = new Map<number, number[]>()
    for (let b = 0; b < 256; b++) {
      if (b === bytes[at] && at === bytes.length - 1) continue
      const next = longest([...bytes.slice(0, at), b])
      to.set(next, [...to.get(next) ?? [], b])
    }
    const steps = [...to].map(([next, all]) => seq({ op: 'bytes', ranges: all.map(b => [b, b] as const) }, rule(`text ${next}`)))
    const last = bytes[at] as number
    return [`text ${at}`, any(nothing, ...steps, ...(at === bytes.length - 1 ? [seq({ op: 'bytes' as const, ranges: [[last, last] as const] }, then)] : []))]
  })
}

/** @throws UsageError for a schema that cannot be enforced */
export function toolRules({ tools, required, several }: ToolCalls): Map<string, Expr> {
  if (tools.length === 0) throw wrong('there are no tools to call', 'give one or more')
  const { open, close } = callForm
  const line = maybe(literal('\n'))
  const calls = tools.map(({ name }, i) => seq(literal(`${JSON.stringify(name)}${callForm.arguments}`), rule(`tool ${i} root`)))
  const call = seq(line, literal(callForm.name), any(...calls), literal(callForm.end), line, literal(close), ...(several ? [maybe(seq(line, literal(open), rule('call')))] : []))
  const rules = new Map<string, Expr>(jsonRules)
  for (const [i, { schema }] of tools.entries()) for (const [name, e] of named(schemaRules(schema), `tool ${i} `)) rules.set(name, e)
  rules.set('call', call)
  if (!required) for (const [name, e] of textUntil(open, rule('call'))) rules.set(name, e)
  return rules.set('root', required ? seq(literal(open), rule('call')) : rule('text 0'))
}
