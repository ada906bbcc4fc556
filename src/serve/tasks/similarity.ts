/** How well the cosines of texts' vectors follow what people say of how alike they are: the semantic textual similarity of STS benchmarks. */
import type { Embedder } from '../embed.ts'
import { cosine, pearson, spearman } from '../metrics/correlation.ts'
import { itemsOf, requireFinite, type Task } from './task.ts'

type Item = { readonly at: string; readonly a: string; readonly b: string; readonly score: number }
type Done = { readonly at: string; readonly score: number; readonly cosine: number; readonly cut: boolean }

export function similarityTask(embedder: Pick<Embedder, 'embed' | 'window'>, stretch: number): Task<Item, Done> {
  return {
    name: 'embed', options: {}, stretch,
    read: parts => itemsOf(parts, (fields): Item => ({ at: fields.at, a: fields.text('a'), b: fields.text('b'), score: fields.number('score') })),
    async measure(items, onItems) {
      const { vectors, cut } = await embedder.embed(items.flatMap(({ a, b }) => [a, b]), done => { onItems(Math.floor(done / 2)) })
      return items.map(({ at, score }, i) => {
        const found = cosine(vectors[2 * i] ?? [], vectors[2 * i + 1] ?? [])
        requireFinite([found], at)
        return { at, score, cosine: found, cut: cut[2 * i] === true || cut[2 * i + 1] === true }
      })
    },
    tally: () => {
      const [scores, cosines]: [number[], number[]] = [[], []]
      let cut = 0
      return {
        add: done => {
          scores.push(done.score)
          cosines.push(done.cosine)
          if (done.cut) cut++
        },
        report: () => ({
          metrics: { spearman: spearman(cosines, scores), pearson: pearson(cosines, scores) }, counts: { pairs: scores.length, cut },
          definitions: { spearman: 'the correlation of the ranks of cosines and scores, of those that tie their mean', pearson: 'the correlation of cosines and scores', cut: `pairs with a text that is longer than ${embedder.window} tokens, and lost its end` },
        }),
      }
    },
  }
}
