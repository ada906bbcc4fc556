// A Vision Transformer on Fashion-MNIST, on four devices: two ways over the batch, two over heads and hidden units. `apt-get install dataset-fashion-mnist` has the data;
// without it these are 8 × 8 digits.
//
//   npx meshwork train examples/vit.ts
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { arrayData } from 'meshwork/data'
import { vitModel } from 'meshwork/models'
import { adamwCosine, defineRun, type Run } from 'meshwork/train'

const fashion = '/usr/share/datasets/fashion-mnist'
const digits = fileURLToPath(new URL('digits', import.meta.url))

const [images, data] = existsSync(fashion)
  ? [{ height: 28, width: 28, patchHeight: 7, patchWidth: 7, brightest: 255 }, arrayData({
      name: 'Fashion-MNIST', licence: 'MIT',
      train: { images: `${fashion}/train-images-idx3-ubyte.gz`, labels: `${fashion}/train-labels-idx1-ubyte.gz` },
      heldOut: { images: `${fashion}/t10k-images-idx3-ubyte.gz`, labels: `${fashion}/t10k-labels-idx1-ubyte.gz` },
    })] as const
  : [{ height: 8, width: 8, patchHeight: 2, patchWidth: 2, brightest: 16 }, arrayData({
      name: 'UCI\'s handwritten digits', licence: 'CC BY 4.0',
      train: { images: `${digits}/train-images.idx.gz`, labels: `${digits}/train-labels.idx.gz` },
      heldOut: { images: `${digits}/test-images.idx.gz`, labels: `${digits}/test-labels.idx.gz` },
    })] as const

const run: Run = defineRun({
  name: 'vit',
  model: vitModel({ ...images, channels: 1, classes: 10, layers: 4, embed: 64, heads: 4, hidden: 128 }),
  data,
  batch: 128,
  steps: 1500,
  optimizer: adamwCosine({ rate: 2e-3, warmup: 100, floor: 0.01, weightDecay: 0.05 }),
  mesh: { batch: 2, model: 2 },
  layout: { batch: 'batch', heads: 'model', hidden: 'model' },
  // All of the test images: the run ends with how many of them it has right.
  evaluation: { every: 500, batches: 100 },
})
export default run
