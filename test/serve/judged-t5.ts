/** T5s held to transformers' `generate`: a folder of `test/oracle/t5.py` answered by ours, on any mesh. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { weightsIn } from '../../src/checkpoint/index.ts'
import type { Backend } from '../../src/engine/index.ts'
import { filesOf, type WritingModel } from '../../src/models/index.ts'
import { usualLayout } from '../../src/pretrained/layout.ts'
import { partOf, readPretrained } from '../../src/pretrained/pretrained.ts'
import type { Asked } from '../../src/serve/asking.ts'
import { beamSearch } from '../../src/serve/beam-search.ts'
import { askedOf, greedy } from '../../src/serve/generate.ts'
import { openAnswering } from '../../src/serve/open.ts'

export const t5Folders: string = fileURLToPath(new URL('golden/t5', import.meta.url))
interface Answer { readonly tokens: readonly number[]; readonly logprobs: readonly number[] }
interface Judged { readonly source: readonly number[]; readonly greedy: Answer; readonly penalised: Answer; readonly endless: Answer; readonly beams: readonly { readonly tokens: readonly number[]; readonly score: number }[] }

const tokens = 24
/** As `t5.py` asks for them. */
const ways: { readonly [way in 'greedy' | 'penalised' | 'endless']: Partial<Asked> } = {
  greedy: {}, endless: { ignoreEnd: true }, penalised: { sampling: { ...greedy, repetitionPenalty: 1.3, logitBias: new Map([[2, -Infinity], [3, -Infinity]]) } },
}
export interface Difference { readonly what: string; /** Of log-probabilities, the largest; infinite where a token is another. */ readonly error: number }

/** All of a folder's sources answered at once, in every way. */
export async function t5Differences(folder: string, backend: Backend, mesh: { readonly batch: number; readonly model: number }, { context = 512, requests = 6 }: { readonly context?: number; readonly requests?: number } = {}): Promise<readonly Difference[]> {
  const judged = JSON.parse(readFileSync(join(folder, 'answers.json'), 'utf8')) as readonly Judged[]
  const part = partOf(await readPretrained(folder), { seq: context })
  const build = (rows: number): WritingModel => part.build({ batch: rows }) as unknown as WritingModel
  const model = build(1)
  const tokenizer = { vocab: model.dims['vocab']?.size ?? 0, endOfText: 1, tokens: [], stream: () => ({ push: () => '', end: () => '' }), decode: () => '' }
  const { answering, close } = await openAnswering({ weights: await weightsIn(folder), naming: filesOf(part as never, model as never)?.naming, model: build, tokenizer: tokenizer as never }, { backend, mesh, layout: usualLayout(model.dims, mesh), requests, context })
  try {
    const apart = (a: readonly number[], b: readonly number[]): number => Math.max(0, ...b.map((x, i) => Math.abs(x - (a[i] ?? NaN))))
    const answered = judged.flatMap((wanted, i) => (Object.keys(ways) as (keyof typeof ways)[]).map(async (way): Promise<Difference> => {
      const found: { token: number; logprob?: number }[] = []
      for await (const told of answering.ask(askedOf(Int32Array.from(wanted.source), { maxTokens: tokens, logprobs: 0, ...ways[way] }))) if (told.type === 'more') found.push(...told.tokens)
      const same = found.map(t => t.token).join() === wanted[way].tokens.join()
      return { what: `${way} ${i}`, error: same ? apart(found.map(t => t.logprob ?? NaN), wanted[way].logprobs) : Infinity }
    }))
    const searched = judged.map(async ({ source, beams }, i): Promise<Difference> => {
      const found = await beamSearch(answering, tokenizer, Int32Array.from(source), { beams: beams.length, maxTokens: 6, ends: [1] })
      return { what: `beams ${i}`, error: found.map(f => f.tokens.join()).join(' ') === beams.map(b => b.tokens.join()).join(' ') ? apart(found.map(f => f.score), beams.map(b => b.score)) : Infinity }
    })
    return await Promise.all([...answered, ...searched])
  } finally {
    await close()
  }
}
