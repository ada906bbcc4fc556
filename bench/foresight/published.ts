/** Published runs of Megatron on A100s whose layout is told in full, as data. */
import type { GptRow } from './planned-gpt.ts'

export interface Published extends GptRow {
  readonly what: string
  readonly ms: number
  readonly source: string
}

const korthikanti = 'Korthikanti et al. 2022, arXiv 2205.05198, table 5'
const common = { seq: 2048, vocab: 51_200, tensor: 8, data: 1 } as const
/** Width, heads, layers, stages, rounds, batch, microbatch; seconds with all computed again, and with sequence parallelism and only attention's scores computed again. */
const tables: readonly (readonly [what: string, embed: number, heads: number, layers: number, stages: number, rounds: number, batch: number, microbatch: number, full: number, selective: number])[] = [
  ['22B', 6144, 64, 48, 1, 1, 4, 4, 1.42, 1.10], ['175B', 12_288, 96, 96, 8, 3, 64, 1, 18.13, 13.75], ['530B', 20_480, 128, 105, 35, 3, 280, 1, 49.05, 37.83], ['1T', 25_600, 160, 128, 64, 1, 512, 1, 94.42, 71.49],
]
/** Hardware operations are not told: seconds of a step are. Scores are computed whole, masked ones too. */
export const published: readonly Published[] = tables.flatMap(([what, embed, heads, layers, stages, rounds, batch, microbatch, full, selective]): Published[] => {
  const row = { ...common, embed, heads, layers, stages, rounds, batch, microbatch, source: korthikanti }
  return [{ ...row, what: `${what}, all computed again`, recompute: 'full', sequence: false, ms: 1000 * full }, { ...row, what: `${what}, sequence parallel, scores computed again`, recompute: 'selective', sequence: true, ms: 1000 * selective }]
})
