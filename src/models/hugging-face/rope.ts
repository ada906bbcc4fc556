/** Rotary positions as `config.json` says them: since transformers 5 in `rope_parameters`, before in `rope_theta` and `rope_scaling`, which both of them read and we write. */
import type { RotaryScaling } from '../../nn/frequencies.ts'
import type { JsonObject } from './architecture.ts'
import type { Settings } from './settings.ts'

/** Of one kind of layers: the base, the share of each head that is turned, and how frequencies are scaled. */
export interface Rope { readonly base: number; readonly share: number; readonly scaling?: RotaryScaling | undefined }

interface Told {
  /** Of the configuration: how long windows of training were at most, and before they were made longer. */
  readonly positions: number
  readonly original?: number | undefined
  readonly headDim: number
  readonly base: number
  /** Whether a share of each head may be turned. */
  readonly partial?: boolean | undefined
  /** The key of the base in the older form. */
  readonly baseKey?: string
  /** Under which name of the newer form the settings lie, where layers differ. */
  readonly layers?: string | undefined
}

const types = ['default', 'linear', 'dynamic', 'yarn', 'longrope', 'su', 'llama3'] as const
const optional = (s: Settings, key: string): number | undefined => (s.has(key) ? s.number(key) : undefined)

function scalingOf(s: Settings, { positions, original: before, headDim }: Told, share: number): RotaryScaling | undefined {
  const key = s.has('rope_type') ? 'rope_type' : 'type'
  const type = s.oneOf(key, types, 'default')
  s.ignore('rope_type', 'type')
  const original = (): number => before ?? s.count('original_max_position_embeddings', positions)
  const factor = (): number => (s.has('factor') ? s.number('factor') : positions / original())
  const pairs = Math.floor(Math.floor(headDim * share) / 2)
  if (type === 'default') return undefined
  if (type === 'linear') return { type, factor: s.number('factor') }
  if (type === 'dynamic') {
    s.ignore('original_max_position_embeddings')
    return { type, factor: s.number('factor'), original: positions }
  }
  if (type === 'llama3') return { type, factor: s.number('factor'), original: original(), low: s.number('low_freq_factor'), high: s.number('high_freq_factor') }
  if (type === 'yarn') {
    s.ignore('original_max_position_embeddings')
    return {
      type, factor: factor(), original: original(), attentionFactor: optional(s, 'attention_factor'), betaFast: optional(s, 'beta_fast'), betaSlow: optional(s, 'beta_slow'),
      mscale: optional(s, 'mscale'), mscaleAllDim: optional(s, 'mscale_all_dim'), truncate: s.has('truncate') ? s.flag('truncate') : undefined,
    }
  }
  s.ignore('original_max_position_embeddings')
  const divisors = (name: string): readonly number[] => {
    const found = s.numbers(name, pairs)
    if (found === undefined) throw s.wrong(name, `give it ${pairs} numbers`)
    return found
  }
  return { type: 'longrope', factor: factor(), original: original(), short: divisors('short_factor'), long: divisors('long_factor'), attentionFactor: optional(s, 'attention_factor') }
}

/** What the configuration says of rotary positions. @throws UsageError for a kind of scaling that is not computed */
export function ropeOf(s: Settings, told: Told): Rope {
  const { baseKey = 'rope_theta', layers, partial = false } = told
  const parameters = s.within('rope_parameters')
  const newer = parameters === undefined || layers === undefined ? parameters : parameters.within(layers) ?? parameters
  const base = s.number(baseKey, told.base)
  if (!partial) s.only('partial_rotary_factor', 1)
  const share = s.number('partial_rotary_factor', 1)
  // Where layers differ only those that see everything are scaled, in the older form.
  const older = baseKey === 'rope_theta' ? s.within('rope_scaling') : undefined
  const from = older ?? newer
  if (from === undefined) return { base, share }
  if (!partial) from.only('partial_rotary_factor', 1)
  const part = from.number('partial_rotary_factor', share)
  const scaling = scalingOf(from, told, part)
  return { base: from.number('rope_theta', base), share: part, ...(scaling === undefined ? {} : { scaling }) }
}

/** Keys of theirs for our scaling. */
export function scalingToConfig(scaling: RotaryScaling): JsonObject {
  const present = (o: { readonly [key: string]: number | boolean | string | readonly number[] | undefined }): JsonObject => Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined)) as JsonObject
  const { type, factor } = scaling
  if (scaling.type === 'linear' || scaling.type === 'dynamic') return { rope_type: type, factor }
  const original_max_position_embeddings = scaling.original
  if (scaling.type === 'llama3') return { rope_type: type, factor, original_max_position_embeddings, low_freq_factor: scaling.low, high_freq_factor: scaling.high }
  if (scaling.type === 'longrope') return present({ rope_type: type, factor, original_max_position_embeddings, short_factor: scaling.short, long_factor: scaling.long, attention_factor: scaling.attentionFactor })
  const { attentionFactor: attention_factor, betaFast: beta_fast, betaSlow: beta_slow, mscale, mscaleAllDim: mscale_all_dim, truncate } = scaling
  return present({ rope_type: type, factor, original_max_position_embeddings, attention_factor, beta_fast, beta_slow, mscale, mscale_all_dim, truncate })
}
