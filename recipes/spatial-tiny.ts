/** Spatial parallel: a convolutional net on images of spots, which are drawn as they are needed. Height and width are split over two axes, and convolutions see over the edges of a device's part. */
import { hash, type DataSource } from '../src/data/index.ts'
import { convNetModel } from '../src/models/index.ts'
import { adamwCosine, defineRun, type Run } from '../src/train/index.ts'

const [size, across] = [32, 3]
/** On a dark and noisy ground one bright spot; the class is the ninth of the image that it lies in. */
const spots = (use: number): DataSource<{ images: Uint8Array; labels: Int32Array }> => ({
  batch(step, { from, to }) {
    const [images, labels] = [new Uint8Array((to - from) * size * size), new Int32Array(to - from)]
    for (let row = 0; row < to - from; row++) {
      const draw = (which: number, below: number): number => hash(use, step, from + row, which) % below
      const label = draw(0, across * across)
      labels[row] = label
      const [y, x] = [Math.floor(label / across), label % across].map((part, i) => (part + 0.25 + draw(1 + i, 100) / 200) * size / across) as [number, number]
      for (let i = 0; i < size * size; i++) images[row * size * size + i] = 200 * Math.exp(-(Math.hypot(Math.floor(i / size) - y, i % size - x) ** 2) / 8) + draw(3 + i, 56)
    }
    return { images, labels }
  },
})

const run: Run = defineRun({
  name: 'spatial-tiny',
  model: convNetModel({ height: size, width: size, channels: 1, classes: across * across, features: [8, 16], kernel: 3, hidden: 32, dropout: 0, brightest: 255 }),
  data: spots(1),
  heldOut: spots(2),
  batch: 32,
  steps: 300,
  mesh: { down: 2, across: 2 },
  layout: { height: 'down', width: 'across' },
  optimizer: adamwCosine({ rate: 2e-3, warmup: 20 }),
  evaluation: { every: 100, batches: 4 },
})
export default run
