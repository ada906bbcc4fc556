// Fashion-MNIST with a convolutional net on four devices: two ways over the batch, two over the height of the images, where neighbours exchange the edges that
// convolutions see. `apt-get install dataset-fashion-mnist` has the data; without it these are 8 × 8 digits.
//
//   npx meshwork train examples/fashion-mnist.ts
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { arrayData } from 'meshwork/data'
import { convNetModel } from 'meshwork/models'
import { adamwCosine, defineRun, type Run } from 'meshwork/train'

const fashion = '/usr/share/datasets/fashion-mnist'
const digits = fileURLToPath(new URL('digits', import.meta.url))

const [images, data] = existsSync(fashion)
  ? [{ height: 28, width: 28, brightest: 255 }, arrayData({
      name: 'Fashion-MNIST', licence: 'MIT',
      train: { images: `${fashion}/train-images-idx3-ubyte.gz`, labels: `${fashion}/train-labels-idx1-ubyte.gz` },
      heldOut: { images: `${fashion}/t10k-images-idx3-ubyte.gz`, labels: `${fashion}/t10k-labels-idx1-ubyte.gz` },
    })] as const
  : [{ height: 8, width: 8, brightest: 16 }, arrayData({
      name: 'UCI\'s handwritten digits', licence: 'CC BY 4.0',
      train: { images: `${digits}/train-images.idx.gz`, labels: `${digits}/train-labels.idx.gz` },
      heldOut: { images: `${digits}/test-images.idx.gz`, labels: `${digits}/test-labels.idx.gz` },
    })] as const

const run: Run = defineRun({
  name: 'fashion-mnist',
  model: convNetModel({ ...images, channels: 1, classes: 10, features: [16, 32], kernel: 3, hidden: 128, dropout: 0.3 }),
  data,
  batch: 128,
  steps: 2000,
  optimizer: adamwCosine({ rate: 2e-3, warmup: 100, floor: 0.01, weightDecay: 0.01 }),
  mesh: { batch: 2, line: 2 },
  layout: { batch: 'batch', height: 'line' },
  // All of the test images: the run ends with how many of them it has right.
  evaluation: { every: 500, batches: 100 },
})
export default run
