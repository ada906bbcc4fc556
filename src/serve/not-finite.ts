/** What is wrong with a model from whose logits nothing can be drawn. */
import { FileError } from '../core/errors.ts'
import { numbersOf } from '../core/half-precision.ts'
import type { Arrays, Tree } from '../engine/index.ts'
import { arrayTrees } from './weights.ts'

/** Looked for only now: weights that are not finite, or a computation that leaves its dtype's range. @param largest of the logits */
export async function notFinite(from: string, largest: number, weights: Arrays<Tree>): Promise<FileError> {
  const counts: string[] = []
  for (const { path, leaf: array } of arrayTrees.flatten(weights)) {
    let [odd, all] = [0, 0]
    for await (const { data } of array.ownParts()) {
      for (const x of numbersOf(data, array.dtype)) if (!Number.isFinite(Number(x))) odd++
      all += data.length
    }
    if (odd > 0) counts.push(`${path} ${odd} of ${all}`)
  }
  const shown = counts.length > 4 ? [...counts.slice(0, 4), `${counts.length - 4} more`] : counts
  return new FileError({
    code: 'not-finite', what: `${from}: ${largest === -Infinity ? 'no token is possible' : 'the model gives NaN or infinity for the next token'}: no text can be written`,
    details: { weights: shown.length === 0 ? 'all finite' : `not finite: ${shown.join(', ')}` },
    fix: shown.length === 0 ? 'the numbers leave the range of precision.compute: train it again with another, f32 or bf16' : 'the run diverged: train it again with a lower optimizer.rate',
  })
}
