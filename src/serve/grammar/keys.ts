/** Names of members, told apart by the patterns that they match: automata side by side, read as one (Rabin & Scott 1959). */
import { any, everyCharacter, nothing, oneOf, repeat, rule, seq, wrong, type Expr } from './expr.ts'
import { jsonCharacter } from './json.ts'
import { machineOf, type Machine } from './machine.ts'
import { parseRegex, searched } from './regex.ts'
import { States, type State } from './states.ts'

const utf8 = new TextEncoder()
const [mostStates, mostClasses] = [2000, 32]
const machine = (e: Expr): Machine => machineOf(new Map([['root', e]]), 'root')
const statesOf = (e: Expr): States => new States(machine(e))
/** Bytes that no machine tells apart. */
function alike(machines: readonly Machine[]): number[][] {
  const found = new Map<string, number[]>()
  const tables = machines.flatMap(m => m.nodes.flatMap(node => (node.kind === 'byte' ? [node.accepts] : [])))
  for (let byte = 0; byte < 256; byte++) {
    const key = tables.map(accepts => accepts[byte]).join('')
    found.set(key, [...found.get(key) ?? [], byte])
  }
  return [...found.values()]
}
const named = (pattern: string): Expr => searched(parseRegex(pattern), jsonCharacter)
/** A name as it is written between quotes. */
const written = (name: string): string => JSON.stringify(name).slice(1, -1)

/** Whether a name is one that a pattern speaks of. */
export function matches(pattern: string, name: string): boolean {
  const states = statesOf(named(pattern))
  let at: State | null = states.start
  for (const byte of utf8.encode(written(name))) {
    at = states.step(at, byte)
    if (at === null) return false
  }
  return at.mayEnd
}

export interface NameClass { /** Which patterns all of these names match, and no others. */ readonly matched: readonly number[]; readonly expr: Expr }

/**
 * All names but some, by what they match.
 * @param prefix of the rules' names @returns the classes, and the rules that they need
 * @throws UsageError where there are too many
 */
export function namesBy(patterns: readonly string[], but: readonly string[], prefix: string): { readonly classes: readonly NameClass[]; readonly rules: ReadonlyMap<string, Expr> } {
  const machines = [repeat(jsonCharacter(everyCharacter), 0, Infinity), ...patterns.map(named), ...(but.length === 0 ? [] : [oneOf(but.map(written))])].map(machine)
  const [all, bytes] = [machines.map(m => new States(m)), alike(machines)]
  type Tuple = readonly (State | null)[]
  const serials = new Map<State | null, number>()
  const found = new Map<string, { readonly at: Tuple; readonly index: number; readonly to: Map<number, number[]> }>()
  const open: Tuple[] = []
  const indexOf = (at: Tuple): number => {
    const key = at.map(s => { const known = serials.get(s) ?? serials.size; serials.set(s, known); return known }).join()
    const known = found.get(key)
    if (known !== undefined) return known.index
    if (found.size >= mostStates) throw wrong('the patterns of properties are too many, or too long, to be told apart', 'give fewer, or list the properties')
    found.set(key, { at, index: found.size, to: new Map() })
    open.push(at)
    return found.size - 1
  }
  indexOf(all.map(s => s.start))
  const nodes: { readonly at: Tuple; readonly to: ReadonlyMap<number, readonly number[]> }[] = []
  // They are numbered in the order in which they are met, and met in the order in which they are looked at.
  for (let i = 0; i < open.length; i++) {
    const at = open[i] as Tuple
    const to = new Map<number, number[]>()
    for (const same of bytes) {
      const next = at.map((s, k) => (s === null ? null : (all[k] as States).step(s, same[0] as number)))
      // The first says what a name is at all.
      if (next[0] === null) continue
      const target = indexOf(next)
      to.set(target, [...to.get(target) ?? [], ...same])
    }
    nodes.push({ at, to })
  }
  const classOf = (at: Tuple): string | undefined => (at[0]?.mayEnd !== true || (but.length > 0 && at.at(-1)?.mayEnd === true) ? undefined : patterns.flatMap((_, k) => (at[k + 1]?.mayEnd === true ? [k] : [])).join())
  const classes = [...new Set(nodes.flatMap(({ at }) => classOf(at) ?? []))]
  if (classes.length > mostClasses) throw wrong('the patterns of properties overlap in too many ways', 'give fewer, or list the properties')
  const rules = new Map<string, Expr>()
  for (const [c, of] of classes.entries()) {
    for (const [i, { at, to }] of nodes.entries()) {
      const steps = [...to].map(([target, bytes]) => seq({ op: 'bytes', ranges: bytes.map(b => [b, b] as const) }, rule(`${prefix} ${c} ${target}`)))
      rules.set(`${prefix} ${c} ${i}`, any(...steps, ...(classOf(at) === of ? [nothing] : [])))
    }
  }
  return { classes: classes.map((of, c) => ({ matched: of === '' ? [] : of.split(',').map(Number), expr: rule(`${prefix} ${c} 0`) })), rules }
}
