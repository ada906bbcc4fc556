/** What an answer must be, as masks over tokens. */
import type { Constraint } from '../asking.ts'
import { any, literal, type Rules } from './expr.ts'
import { grammarOf, type Grammar } from './grammar.ts'
import { jsonRules } from './json.ts'
import { parseEbnf } from './ebnf.ts'
import { schemaRules } from './json-schema.ts'
import { machineOf } from './machine.ts'
import { toolRules } from './tool-calls.ts'
import { wholeRegex } from './regex.ts'
import type { Vocabulary } from './vocabulary.ts'

const ways: { readonly [T in Constraint['type']]: (constraint: Extract<Constraint, { readonly type: T }>) => Rules } = {
  'json-object': () => new Map([...jsonRules, ['root', { op: 'rule', name: 'object' }]]),
  'json-schema': ({ schema }) => schemaRules(schema),
  regex: ({ pattern }) => new Map([['root', wholeRegex(pattern)]]),
  choice: ({ choices }) => new Map([['root', any(...choices.map(literal))]]),
  ebnf: ({ grammar }) => parseEbnf(grammar),
  tools: toolRules,
}

/** @throws UsageError (`constraint`) that says what is wrong, or cannot be enforced: nothing is ignored */
export function compileConstraint(constraint: Constraint, vocabulary: Vocabulary): Grammar {
  const rules = (ways[constraint.type] as (c: Constraint) => Rules)(constraint)
  return grammarOf(machineOf(rules, 'root'), vocabulary)
}
