/** The measured rows of vTrain's tables (see README.md here). */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { GptRow } from '../planned-gpt.ts'

export interface Measured extends GptRow { readonly ms: number }

/** `MESHWORK_VTRAIN`: a folder with other tables of the same columns. */
const folder = process.env['MESHWORK_VTRAIN'] ?? import.meta.dirname

/** Of one node, or of many. A table of many has the number of parameters before the other columns. */
export async function measuredRows(which: 'single' | 'multi'): Promise<readonly Measured[]> {
  const file = join(folder, `ground_truth_${which}.csv`)
  const text = await readFile(file, 'utf8').catch((cause: unknown) => { throw new Error(`there is no ${file}: give MESHWORK_VTRAIN the folder of vTrain's tables, data/ of github.com/VIA-Research/vTrain`, { cause }) })
  return text.trim().split(/\r?\n/).slice(1).map((line): Measured => {
    const cells = line.split(',').map(Number).slice(which === 'multi' ? 1 : 0)
    const [devices = NaN, batch = NaN, microbatch = NaN, embed = NaN, heads = NaN, layers = NaN, seq = NaN, tensor = NaN, data = NaN, stages = NaN, ms = NaN] = cells
    if (cells.length !== 11 || cells.some(Number.isNaN) || tensor * data * stages !== devices) throw new Error(`${file}: not a row of vTrain's: ${line}`)
    // Megatron pads 50,257 tokens to a multiple of 128 and of the tensor ways: 51,200 with eight of them.
    return { batch, microbatch, embed, heads, layers, seq, vocab: 51_200, tensor, data, stages, ms }
  })
}
