/** Constraints of answers for one tokenizer: what has been asked before is not made again. */
import type { Tokenizer } from '../data/index.ts'
import type { Constraint } from './asking.ts'
import { compileConstraint, vocabularyOf, type Grammar, type GrammarPlace, type Vocabulary } from './grammar/index.ts'

/** Grammars that are kept. */
const most = 32

/** @returns where an answer begins. It throws UsageError (`constraint`) for what is wrong or cannot be enforced */
export function constraints(tokenizer: Tokenizer): (constraint: Constraint) => GrammarPlace {
  let vocabulary: Vocabulary | undefined
  const known = new Map<string, Grammar>()
  return constraint => {
    const key = JSON.stringify(constraint)
    let grammar = known.get(key)
    if (grammar === undefined) {
      grammar = compileConstraint(constraint, vocabulary ??= vocabularyOf(tokenizer.tokens.map((_, id) => tokenizer.textOf(id))))
      if (known.size >= most) known.delete(known.keys().next().value as string)
      known.set(key, grammar)
    }
    return grammar.start()
  }
}
