/** What the section on parallelism measures: each form as a recipe says it, and which peers have it. */
import type { Layouts } from '../../src/core/layout.ts'
import type { Context } from '../../src/nn/context.ts'

/** `MESHWORK_BENCH_QUICK=1`: the same with small numbers, to see that it runs; its figures say nothing. */
export const isQuick: boolean = (process.env['MESHWORK_BENCH_QUICK'] ?? '') !== ''

interface Sizes { readonly vocab: number; readonly seq: number; readonly layers: number; readonly embed: number; readonly heads: number; readonly headDim: number; readonly hidden: number; readonly dropout: number }
interface Images { readonly height: number; readonly width: number; readonly channels: number; readonly classes: number; readonly features: readonly number[]; readonly kernel: number; readonly hidden: number; readonly dropout: number; readonly brightest: number }
/** One Transformer for every form. */
export const sizes: Sizes = isQuick
  ? { vocab: 256, seq: 32, layers: 4, embed: 64, heads: 4, headDim: 16, hidden: 256, dropout: 0 }
  : { vocab: 4096, seq: 128, layers: 4, embed: 256, heads: 8, headDim: 32, hidden: 1024, dropout: 0 }
/** Windows a step, all devices together; batches that a worker goes round. */
export const [batch, batches] = [8, 4] as const
/** Experts in the place of each feed-forward net: as many multiplications a token, of twice as many weights. */
export const experts: { readonly count: number; readonly chosen: number; readonly capacity: number } = { count: 8, chosen: 2, capacity: 1.25 }

/** For images a convolutional net. */
export const images: Images = isQuick
  ? { height: 16, width: 16, channels: 3, classes: 8, features: [8, 16], kernel: 3, hidden: 32, dropout: 0, brightest: 255 }
  : { height: 64, width: 64, channels: 3, classes: 8, features: [32, 64], kernel: 3, hidden: 128, dropout: 0, brightest: 255 }

/** JAX is told the same rules for GSPMD; what is in `context` and `pipeline` it does by `shard_map`. */
export interface Compared extends Layouts {
  readonly mesh: { readonly [axis: string]: number }
  readonly context?: Context
  readonly pipeline?: { readonly stages: number; readonly microbatches: number; readonly schedule: 'gpipe' | '1f1b' }
  /** What is trained; the dense Transformer unless said. */
  readonly model?: 'experts' | 'images'
  /** What there is of it in JAX. */
  readonly jax?: string
  /** What there is of it in PyTorch. */
  readonly torch?: string
}

const tensor = { heads: 'model', hidden: 'model', vocab: 'model' }
const both = { batch: 'data', ...tensor }
const residual = { residual: { from: 'compute', seq: 'model' } } as const
const ring = { mesh: { ring: 4 }, layout: { seq: 'ring' } }

export const forms: { readonly [name: string]: Compared } = {
  'data': { mesh: { data: 4 }, layout: { batch: 'data' }, jax: 'GSPMD', torch: 'DDP' },
  'tensor': { mesh: { model: 4 }, layout: tensor, jax: 'GSPMD', torch: 'DTensor' },
  'data × tensor': { mesh: { data: 2, model: 2 }, layout: both, jax: 'GSPMD', torch: 'DTensor + DDP' },
  'ZeRO-1': { mesh: { data: 4 }, layout: { batch: 'data' }, state: { embed: 'data' }, jax: 'GSPMD' },
  'FSDP': { mesh: { data: 4 }, layout: { batch: 'data' }, params: { embed: 'data' }, jax: 'GSPMD', torch: 'FSDP2' },
  'hybrid': { mesh: { replica: 2, shard: 2 }, layout: { batch: ['replica', 'shard'] }, params: { embed: 'shard' }, jax: 'GSPMD', torch: 'FSDP2' },
  'FSDP × tensor': { mesh: { data: 2, model: 2 }, layout: both, params: { embed: 'data' }, jax: 'GSPMD' },
  'sequence × tensor': { mesh: { model: 4 }, layout: tensor, layouts: residual, jax: 'GSPMD', torch: 'DTensor' },
  'ring': { ...ring, context: { form: 'ring', blocks: 4 }, jax: 'shard_map' },
  'zigzag': { ...ring, context: { form: 'zigzag', blocks: 4 }, jax: 'shard_map' },
  'gathered keys': { ...ring, context: { form: 'gather', blocks: 4 }, jax: 'shard_map' },
  'Ulysses': { ...ring, context: { form: 'ulysses' }, layouts: { attention: { seq: [], heads: 'ring' } }, jax: 'shard_map' },
  'experts': { mesh: { data: 4 }, layout: { batch: 'data' }, params: { experts: 'data' }, model: 'experts', jax: 'GSPMD' },
  'images by height and width': { mesh: { high: 2, broad: 2 }, layout: { height: 'high', width: 'broad' }, model: 'images', jax: 'GSPMD' },
  'pipeline (GPipe)': { mesh: { stage: 4 }, layout: { stage: 'stage', layers: 'stage', vocab: 'stage' }, pipeline: { stages: 4, microbatches: 4, schedule: 'gpipe' }, jax: 'shard_map', torch: 'pipelining' },
}

const chosen = process.env['MESHWORK_BENCH_PARTS']?.split(',')
/** `MESHWORK_BENCH_PARTS`, such as `data,ring`: those forms alone; with `devices` or `ranks` on that side alone. */
export const wanted = (name: string): boolean => {
  const names = chosen?.filter(c => c in forms) ?? []
  return names.length === 0 || names.includes(name)
}
export const side = (name: 'devices' | 'ranks'): boolean => !(chosen ?? []).some(c => c === 'devices' || c === 'ranks') || (chosen ?? []).includes(name)
