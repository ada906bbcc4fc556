/** What the section on speed trains: six models of the kinds that people train, each with a peer in PyTorch and one in JAX. */
export const isQuick: boolean = (process.env['MESHWORK_BENCH_QUICK'] ?? '') !== ''

interface Decoder { readonly vocab: number; readonly seq: number; readonly layers: number; readonly embed: number; readonly heads: number; readonly kvHeads?: number; readonly headDim: number; readonly hidden: number; readonly dropout: 0 }
interface Images { readonly height: number; readonly width: number; readonly channels: number; readonly classes: number; readonly features: readonly number[]; readonly kernel: number; readonly hidden: number; readonly dropout: 0; readonly brightest: number }
interface Experts { readonly count: number; readonly chosen: number; readonly capacity: number; readonly hidden: number }
export interface Configuration {
  readonly kind: 'gpt' | 'llama' | 'images'
  readonly about: string
  readonly config: Decoder | Images
  /** In the place of each feed-forward net. */
  readonly experts?: Experts
  /** Windows or images a step, all devices together. */
  readonly batch: number
}

const decoder = (of: Omit<Decoder, 'dropout'>): Decoder => ({ ...of, dropout: 0 })
/** `MESHWORK_BENCH_QUICK=1`: the same kinds with small numbers, to see that they run; the figures say nothing. */
const small = { vocab: 256, seq: 32, layers: 2, embed: 64, heads: 4, headDim: 16, hidden: 128 }
const full: { readonly [name: string]: Configuration } = {
  a: { kind: 'gpt', about: 'GPT, 4 layers of 256, 8192 words, 8 × 128 tokens', batch: 8, config: decoder({ vocab: 8192, seq: 128, layers: 4, embed: 256, heads: 8, headDim: 32, hidden: 1024 }) },
  b: { kind: 'gpt', about: 'GPT-2 small: 12 layers of 768, 50257 words, 2 × 256 tokens', batch: 2, config: decoder({ vocab: 50257, seq: 256, layers: 12, embed: 768, heads: 12, headDim: 64, hidden: 3072 }) },
  c: { kind: 'llama', about: 'Llama, 8 layers of 512, 8 heads over 4, 32000 words, 4 × 512 tokens', batch: 4, config: decoder({ vocab: 32000, seq: 512, layers: 8, embed: 512, heads: 8, kvHeads: 4, headDim: 64, hidden: 1408 }) },
  d: { kind: 'images', about: 'convolutions of 32, 64 and 128 on 32 × 32 images, 64 of them', batch: 64, config: { height: 32, width: 32, channels: 3, classes: 10, features: [32, 64, 128], kernel: 3, hidden: 256, dropout: 0, brightest: 255 } },
  e: { kind: 'llama', about: 'experts: 4 layers of 256, 8 of 512, two a token, 4096 words, 8 × 128 tokens', batch: 8, config: decoder({ vocab: 4096, seq: 128, layers: 4, embed: 256, heads: 8, kvHeads: 8, headDim: 32, hidden: 1024 }), experts: { count: 8, chosen: 2, capacity: 1.25, hidden: 512 } },
  f: { kind: 'gpt', about: 'gpt-tiny: 4 layers of 128, 2048 words, 8 × 128 tokens', batch: 8, config: decoder({ vocab: 2048, seq: 128, layers: 4, embed: 128, heads: 4, headDim: 32, hidden: 512 }) },
}
const quick: { readonly [name: string]: Configuration } = {
  a: { kind: 'gpt', about: 'a small GPT', batch: 4, config: decoder(small) },
  c: { kind: 'llama', about: 'a small Llama', batch: 4, config: decoder({ ...small, kvHeads: 2 }) },
  d: { kind: 'images', about: 'a small net of convolutions', batch: 4, config: { height: 8, width: 8, channels: 3, classes: 4, features: [4, 8], kernel: 3, hidden: 16, dropout: 0, brightest: 255 } },
  e: { kind: 'llama', about: 'small experts', batch: 4, config: decoder({ ...small, kvHeads: 4 }), experts: { count: 4, chosen: 2, capacity: 1.25, hidden: 64 } },
}
export const configurations: { readonly [name: string]: Configuration } = isQuick ? quick : full

/** What a card is given: a billion parameters, in windows of 1024. */
export const onCards: { readonly [name: string]: Configuration } = isQuick ? { g: { kind: 'gpt', about: 'a small GPT', batch: 4, config: decoder(small) } } : {
  g: { kind: 'gpt', about: 'GPT of 1.1 · 10⁹ parameters: 20 layers of 2048, 50257 words, 8 × 1024 tokens', batch: 8, config: decoder({ vocab: 50257, seq: 1024, layers: 20, embed: 2048, heads: 16, headDim: 128, hidden: 8192 }) },
}

/** Batches that a worker goes round. */
export const batches = 4

const parts = process.env['MESHWORK_BENCH_PARTS']?.split(',') ?? []
/**
 * `MESHWORK_BENCH_PARTS=a,f,growth`: some of the configurations, dtypes (`f32`, `bf16`), ways to grow (`layers`, `width`, `tokens`, `windows`, `devices`) and parts (`steps`, `meshes`, `card`, `growth`,
 * `start`, `host`). Of each group all, unless one of it is named. Each fits into some minutes by itself.
 */
export const wanted = (group: readonly string[], name: string): boolean => !group.some(g => parts.includes(g)) || parts.includes(name)
export const growths = ['layers', 'width', 'tokens', 'windows', 'devices'] as const
export const partNames = ['steps', 'meshes', 'card', 'growth', 'start', 'host'] as const
/** Naming a configuration or a dtype means the part on steps, naming a way to grow that on growth. */
export const partWanted = (part: (typeof partNames)[number]): boolean => {
  if (parts.length === 0) return true
  if (parts.some(p => partNames.some(n => n === p))) return parts.includes(part)
  return part === (parts.some(p => growths.some(g => g === p)) ? 'growth' : 'steps')
}
