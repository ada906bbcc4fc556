/** Beam search: the likeliest texts, of which several are gone on with at once. Their beginnings lie in the cache once. */
import { UsageError } from '../core/errors.ts'
import type { Tokenizer } from '../data/index.ts'
import type { Answering, Likely } from './asking.ts'
import { toldAtMost } from './draw.ts'
import { askedOf } from './generate.ts'

export interface BeamOptions {
  /** Texts that are gone on with; 4 unless said. */
  readonly beams?: number
  /** Tokens of each; 64 unless said, as many as the window has at most. */
  readonly maxTokens?: number
  /** A text's log-probability is divided by its tokens to this power before texts are compared: above 0 longer ones are preferred; 1 unless said (Wu et al. 2016). */
  readonly lengthPenalty?: number
  /** Tokens that end a text; the model's own unless said. */
  readonly ends?: readonly number[]
  readonly signal?: AbortSignal
}
/** A text that was found. */
export interface Beam {
  readonly tokens: readonly number[]
  /** Without what ends it. */
  readonly text: string
  /** The sum over its tokens, that which ends it among them. */
  readonly logprob: number
  /** What texts were compared by. */
  readonly score: number
}

interface Open { readonly tokens: readonly number[]; readonly logprob: number }

/**
 * The best texts, as many as there are beams at most, the best first. Of every text twice as many tokens as there are beams are looked at, so that those which end do not leave too few; it ends once
 * nothing that is open can become better than what was found (as `transformers` does without early stopping).
 * @throws UsageError for more beams than tokens are told of; Refused as `ask`
 */
export async function beamSearch(answering: Answering, tokenizer: Pick<Tokenizer, 'decode'>, prompt: Int32Array, { beams = 4, maxTokens = 64, lengthPenalty = 1, ends = [], signal }: BeamOptions & { readonly ends: readonly number[] }): Promise<readonly Beam[]> {
  if (!Number.isSafeInteger(beams) || beams < 1 || 2 * beams > toldAtMost) throw new UsageError({ code: 'beams', what: `there are ${beams} beams`, fix: `give a whole number from 1 to ${toldAtMost / 2}` })
  if (!Number.isSafeInteger(maxTokens) || maxTokens < 1) throw new UsageError({ code: 'beams', what: `maxTokens is ${maxTokens}`, fix: 'give a whole number from 1 on' })
  const most = Math.min(maxTokens, answering.context - (answering.encoder ? 1 : prompt.length))
  const scored = (logprob: number, count: number): number => logprob / count ** lengthPenalty
  const done: Beam[] = []
  const finish = (tokens: readonly number[], logprob: number, ended: boolean): void => {
    done.push({ tokens, logprob, score: scored(logprob, tokens.length), text: tokenizer.decode(ended ? tokens.slice(0, -1) : tokens) })
    done.sort((a, b) => b.score - a.score)
    done.length = Math.min(done.length, beams)
  }
  let open: readonly Open[] = [{ tokens: [], logprob: 0 }]
  for (let count = 1; count <= most && open.length > 0; count++) {
    signal?.throwIfAborted()
    const next = await Promise.all(open.map(async ({ tokens, logprob }) => (await likeliest(answering, prompt, tokens, 2 * beams, signal)).map(l => ({ tokens: [...tokens, l.token], logprob: logprob + l.logprob }))))
    const ordered = next.flat().sort((a, b) => b.logprob - a.logprob).slice(0, 2 * beams)
    const still: Open[] = []
    for (const [rank, candidate] of ordered.entries()) {
      const last = candidate.tokens[candidate.tokens.length - 1] as number
      // What ends too far down the order would push out what is better.
      if (ends.includes(last)) { if (rank < beams) finish(candidate.tokens, candidate.logprob, true) }
      else if (still.length < beams) still.push(candidate)
    }
    open = still
    const worst = done.length < beams ? -Infinity : done[done.length - 1]?.score ?? -Infinity
    if (open[0] !== undefined && scored(open[0].logprob, count) <= worst) return done
  }
  for (const { tokens, logprob } of open) finish(tokens, logprob, false)
  return done
}

/** The tokens that may follow a text, the likeliest first. */
async function likeliest(answering: Answering, prompt: Int32Array, begun: readonly number[], count: number, signal: AbortSignal | undefined): Promise<readonly Likely[]> {
  let found: readonly Likely[] = []
  // What ends a text is a token as any other here.
  for await (const told of answering.ask(askedOf(prompt, { begun: Int32Array.from(begun), maxTokens: 1, logprobs: count, ignoreEnd: true }), signal)) if (told.type === 'more') found = told.tokens[0]?.top ?? found
  return found
}
