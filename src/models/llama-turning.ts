/** What differs between the layers of a decoder of the Llama family: how they turn queries and keys, and how far they see. */
import { full, loose, where } from '../graph/tensor.ts'
import type { AnyTensor, Scalar, Tensor } from '../graph/types.ts'
import { rotaryFrequencies } from '../nn/frequencies.ts'
import { rotaryAngles, type Angles } from '../nn/rotary.ts'
import type { LlamaConfig, Rope } from './llama-config.ts'
import type { LlamaDims } from './llama-params.ts'
import type { Layers } from './pipelined.ts'

/** How the queries and keys of each layer are turned: by angles made once, chosen by the layer's number where layers differ. */
export function turning(c: LlamaConfig, d: LlamaDims, { differing }: Layers, positions: AnyTensor): { readonly kindOf: (layer: number) => number; readonly kinds: Tensor<'layers'> | undefined; readonly anglesOf: (kind: Scalar | undefined) => Angles | undefined } {
  const angles = ({ base, share, scaling }: Rope): Angles => rotaryAngles(positions, c.latent === undefined ? d.headDim : d.turned, rotaryFrequencies({ size: c.latent?.turned ?? Math.floor(c.headDim * share), base, seq: c.seq, scaling }))
  const kindOf = (layer: number): number => (c.unturned.includes(layer) ? 2 : c.localRope !== undefined && !c.unwindowed.includes(layer) ? 1 : 0)
  const kinds = differing(kindOf)
  const made = [angles(c.rope), ...(c.localRope === undefined ? [] : [angles(c.localRope)])] as const
  return {
    kindOf, kinds,
    anglesOf: kind => {
      if (kind === undefined) return made[kindOf(0)]
      const pick = (f: (a: Angles) => Tensor<string>, still: number): Tensor<string> =>
        where(kind.equal(2), loose(full(still, f(made[0]).shape)), made[1] === undefined ? f(made[0]) : where(kind.equal(1), f(made[1]), f(made[0])))
      return { cos: pick(a => a.cos, 1), sin: pick(a => a.sin, 0) }
    },
  }
}
