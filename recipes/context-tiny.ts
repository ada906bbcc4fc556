/** Context parallel: windows that four devices share, two in a ring balanced for the causal mask (zigzag), and in each place of the ring two that split the heads instead (Ulysses). */
import { textData } from '../src/data/index.ts'
import { llamaModel } from '../src/models/index.ts'
import { adamwCosine, defineRun, type Run } from '../src/train/index.ts'

const run: Run = defineRun({
  name: 'context-tiny',
  model: llamaModel({ vocab: 2048, seq: 512, layers: 4, embed: 128, heads: 4, kvHeads: 2, headDim: 32, hidden: 384, context: { form: 'zigzag', blocks: 4 } }),
  data: textData({}),
  batch: 2,
  steps: 2200,
  mesh: { ring: 2, heads: 2 },
  layout: { seq: ['ring', 'heads'] },
  layouts: { attention: { seq: 'ring', kvHeads: 'heads' } },
  optimizer: adamwCosine({ rate: 3e-3, warmup: 100 }),
  evaluation: { every: 500 },
})
export default run
