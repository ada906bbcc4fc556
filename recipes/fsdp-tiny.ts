/**
 * FSDP, which is ZeRO-3, in replicas of shards: a small GPT on four devices, parameters and slots in two parts. `--mesh replica=1,shard=4` has four parts and no replicas. With `--set params={} state.embed=shard`
 * the slots alone rest in parts (ZeRO-1), with `gradients.from=state microbatches=2` behind it the sums of microbatches' gradients, too (ZeRO-2).
 */
import { textData } from '../src/data/index.ts'
import { gptModel } from '../src/models/index.ts'
import { adamwCosine, defineRun, type Run } from '../src/train/index.ts'

const run: Run = defineRun({
  name: 'fsdp-tiny',
  model: gptModel({ vocab: 2048, seq: 128, layers: 4, embed: 128, heads: 4, headDim: 32, hidden: 512 }),
  data: textData({}),
  batch: 8,
  steps: 2200,
  mesh: { replica: 2, shard: 2 },
  layout: { batch: ['replica', 'shard'] },
  params: { embed: 'shard' },
  optimizer: adamwCosine({ rate: 3e-3, warmup: 100 }),
  evaluation: { every: 500 },
})
export default run
