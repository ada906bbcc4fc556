// A decoder of long windows, each shared by eight devices: four in a ring, balanced for the causal mask, and in each place of the ring two that split the heads instead.
//
//   npx meshwork train examples/long-context.ts
//   npx meshwork train examples/long-context.ts --mesh ring=8,heads=1 --set model.context.blocks=8     a ring of eight alone
//   npx meshwork plan examples/long-context.ts                                                          what travels, without devices
import { textData } from 'meshwork/data'
import { llamaModel } from 'meshwork/models'
import { adamwCosine, defineRun, type Run } from 'meshwork/train'

const run: Run = defineRun({
  name: 'long-context',
  // `blocks`: as many parts as a window begins with; the devices in the ring are as many, or a divisor of them.
  model: llamaModel({ vocab: 1024, seq: 4096, layers: 2, embed: 64, heads: 4, kvHeads: 2, headDim: 16, hidden: 192, context: { form: 'zigzag', blocks: 4 } }),
  data: textData({ heldOut: 0.05 }),
  batch: 1,
  steps: 200,
  optimizer: adamwCosine({ rate: 3e-3, warmup: 20 }),
  mesh: { ring: 4, heads: 2 },
  // Tokens lie along both axes, but while they are attended to: there the second splits heads of keys, by all-to-alls.
  layout: { seq: ['ring', 'heads'] },
  layouts: { attention: { seq: 'ring', kvHeads: 'heads' } },
  evaluation: { every: 50, batches: 2 },
})
export default run
