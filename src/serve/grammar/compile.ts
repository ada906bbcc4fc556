/** What an answer must be, as masks over tokens. */
import type { Constraint } from '../asking.ts'
import { oneOf, wrong, type Rules } from './expr.ts'
import { grammarOf, type Grammar } from './grammar.ts'
import { jsonRules } from './json.ts'
import { parseEbnf } from './ebnf.ts'
import { schemaRules } from './json-schema.ts'
import { atMost, machineOf, type Limits } from './machine.ts'
import { toolRules } from './tool-calls.ts'
import { wholeRegex } from './regex.ts'
import type { Vocabulary } from './vocabulary.ts'

const ways: { readonly [T in Constraint['type']]: (constraint: Extract<Constraint, { readonly type: T }>) => Rules } = {
  'json-object': () => new Map([...jsonRules, ['root', { op: 'rule', name: 'object' }]]),
  'json-schema': ({ schema }) => schemaRules(schema),
  regex: ({ pattern }) => new Map([['root', wholeRegex(pattern)]]),
  choice: ({ choices }) => new Map([['root', oneOf(choices)]]),
  ebnf: ({ grammar }) => parseEbnf(grammar),
  tools: toolRules,
}

/** As JSON; the most that is looked at. */
const longest = 2 ** 18
const tooMuch = (): Error => wrong('the constraint is too large', `give ${longest} characters at most, and nothing that lies in each other without end`)

/** @throws UsageError (`constraint`) that says what is wrong, or cannot be enforced: nothing is ignored; what `limits` says where it is more */
export function compileConstraint(constraint: Constraint, vocabulary: Vocabulary, limits: Limits = atMost): Grammar {
  try {
    if ((JSON.stringify(constraint) ?? '').length > longest) throw tooMuch()
    const rules = (ways[constraint.type] as (c: Constraint) => Rules)(constraint)
    return grammarOf(machineOf(rules, 'root', limits), vocabulary, limits)
  } catch (e) {
    // The stack: what lies in each other is followed by functions that call themselves.
    throw e instanceof RangeError ? tooMuch() : e
  }
}
