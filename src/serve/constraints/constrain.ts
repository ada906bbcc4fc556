/** Constraints of answers for one tokenizer: small ones are worked out here, others by a thread of their own, so that no answer waits for those of others. */
import type { Tokenizer } from '../../data/index.ts'
import type { Constraint } from '../asking.ts'
import { compileConstraint, vocabularyOf, type Grammar, type GrammarPlace, type Limits, type Vocabulary } from '../grammar/index.ts'
import type { Place } from '../writing.ts'
import { behind, ConstraintThread, type Away, type Path } from './thread.ts'

/** Grammars that are kept. */
const most = 32
/** What is more is for the thread: a few dozen milliseconds. */
class Beyond extends Error {}
const small: Limits = { nodes: 4000, work: 20_000, beyond: () => new Beyond('more than is done here') }
/** Characters of a constraint, as JSON, that may be small. */
const shortest = 2048
/** Words of a schema that a short one can say much with: ways to be joined, and names that are told apart by patterns. */
const much = /"(?:patternProperties|allOf|oneOf|multipleOf)"/

/** A grammar that answers begin with: here, or what the thread makes of it. */
interface Known { readonly away: Away; here: Grammar | undefined; start: Place | undefined }

/** A place that is worked out here, as long as that is little. */
class HerePlace implements Place {
  readonly #known: Known
  readonly #inner: GrammarPlace
  readonly #path: Path | undefined
  readonly #thread: ConstraintThread
  readonly mask: Uint32Array

  /** @throws Beyond, UsageError */
  constructor(known: Known, inner: GrammarPlace, path: Path | undefined, thread: ConstraintThread) {
    this.#known = known
    this.#inner = inner
    this.#path = path
    this.#thread = thread
    this.mask = inner.mask
  }

  get mayEnd(): boolean { return this.#inner.mayEnd }
  after(token: number): Place | undefined {
    const path = behind(token, this.#path)
    try {
      const inner = this.#inner.after(token)
      return inner === undefined ? undefined : new HerePlace(this.#known, inner, path, this.#thread)
    } catch (e) {
      if (e instanceof Beyond) return this.#thread.place(this.#known.away, path)
      throw e
    }
  }
}

export interface Constraints {
  /** Where an answer begins. @throws UsageError (`constraint`) for what is wrong or cannot be enforced, at once or by what is pending */
  begin(constraint: Constraint): Place
  /** Makes ready what is asked for most: the tree of all tokens. */
  prepare(): void
  close(): Promise<void>
}

/** @param options.deadline milliseconds that the thread may take for one place */
export function constraints(tokenizer: Tokenizer, { deadline }: { readonly deadline?: number } = {}): Constraints {
  const textsOf = (): (Uint8Array | undefined)[] => tokenizer.tokens.map((_, id) => tokenizer.textOf(id))
  let vocabulary: Vocabulary | undefined
  const prepare = (): Vocabulary => vocabulary ??= vocabularyOf(textsOf())
  const thread = new ConstraintThread(() => vocabulary?.texts ?? textsOf(), deadline)
  const all = new Map<string, Known>()
  let serial = 0
  const place = (known: Known): Place => (known.here === undefined ? known.start ??= thread.place(known.away, undefined) : new HerePlace(known, known.here.start(), undefined, thread))
  return {
    begin(constraint) {
      const key = JSON.stringify(constraint)
      let known = all.get(key)
      if (known === undefined) {
        known = { away: { grammar: serial++, constraint }, here: undefined, start: undefined }
        if (key.length <= shortest && !(constraint.type !== 'regex' && much.test(key))) {
          try { known.here = compileConstraint(constraint, prepare(), small) } catch (e) { if (!(e instanceof Beyond)) throw e }
        }
        if (all.size >= most) all.delete(all.keys().next().value as string)
        all.set(key, known)
      }
      try { return place(known) } catch (e) {
        if (!(e instanceof Beyond)) throw e
        known.here = undefined
        return place(known)
      } finally {
        const { start } = known
        // What was wrong is looked at anew when it is asked again: it may have been no fault of its own.
        start?.pending?.catch(() => { if (all.get(key) === known) all.delete(key) })
      }
    },
    prepare() { prepare() },
    close: () => thread.close(),
  }
}
