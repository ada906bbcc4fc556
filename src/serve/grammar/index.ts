/** The door of structured output. */
export { compileConstraint } from './compile.ts'
export type { Grammar, GrammarPlace } from './grammar.ts'
export type { Limits } from './machine.ts'
export { vocabularyOf, type TokenTexts, type Vocabulary } from './vocabulary.ts'
