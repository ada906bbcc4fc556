/** Steps that others published, as data: what was run, on what, and how long it took. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { GptRow } from '../planned-gpt.ts'

export interface Published extends GptRow { readonly what: string; readonly ms: number }
/** One table of one system: `machine` names ours, or Megatron's as vTrain's rows have calibrated it. */
export interface Table {
  readonly name: string
  readonly machine: string
  readonly source: string
  readonly rows: readonly Published[]
  /** Rows of another table that the machine's factors are fitted to; a tenth of its own where there are none. */
  readonly calibration?: readonly Published[]
}

/** Korthikanti et al. 2022, arXiv 2205.05198, table 5: width, heads, layers, stages, rounds, batch, microbatch; seconds with all computed again, and with sequence parallelism and attention's core alone. */
const korthikanti = ([
  ['22B', 6144, 64, 48, 1, 1, 4, 4, 1.42, 1.10], ['175B', 12_288, 96, 96, 8, 3, 64, 1, 18.13, 13.75], ['530B', 20_480, 128, 105, 35, 3, 280, 1, 49.05, 37.83], ['1T', 25_600, 160, 128, 64, 1, 512, 1, 94.42, 71.49],
] as const).flatMap(([what, embed, heads, layers, stages, rounds, batch, microbatch, full, selective]): Published[] => {
  const row = { seq: 2048, vocab: 51_200, tensor: 8, data: 1, embed, heads, layers, stages, rounds, batch, microbatch, summing: true }
  return [{ ...row, what: `${what}, all again`, ms: 1000 * full }, { ...row, what: `${what}, attention again, sequence parallel`, recompute: 'scores', sequence: true, ms: 1000 * selective }]
})

/** Of one of BigScience's tables in train/tr11-176B-ml/chronicles-prequel.md: 384 devices, windows of 2048. */
const ofBigscience = (embed: number, heads: number, layers: number, [data, tensor, stages, microbatch, batch, seconds]: readonly [data: number, tensor: number, stages: number, microbatch: number, batch: number, seconds: number]): Published => ({
  what: `${embed} × ${layers}, ${heads} heads, d ${data} t ${tensor} p ${stages} mb ${microbatch} of ${batch}`, embed, heads, layers, seq: 2048, vocab: 250_880, tensor, data, stages, microbatch, batch, ms: 1000 * seconds,
  // Flat vectors are cut there, rows here, which have to come out even.
  ...(embed % data === 0 ? { sharded: 'moments' } : {}),
})
/** `GBS Variations` of 25 February 2022, the rows that did not run out of memory. */
const bigscience = ([
  [8, 8, 6, 4, 1568, 113.01], [8, 8, 6, 4, 2048, 114.11], [8, 8, 6, 6, 2016, 123.57], [4, 8, 12, 4, 1568, 92.75], [4, 8, 12, 4, 2048, 117.07], [4, 8, 12, 2, 1568, 99.93], [4, 8, 12, 2, 2048, 128.82],
  [6, 8, 8, 4, 2016, 113.16], [12, 8, 4, 2, 2016, 125.52], [12, 8, 4, 4, 2016, 114.81], [24, 8, 2, 1, 2016, 145.45], [24, 8, 2, 2, 2016, 136.13],
  [8, 4, 12, 4, 2048, 111.89], [8, 4, 12, 2, 2048, 110.48], [8, 4, 12, 2, 2048, 113.54], [16, 4, 6, 4, 2048, 117.11], [16, 4, 6, 2, 2048, 111.71], [16, 2, 12, 2, 2048, 112.5], [8, 2, 24, 1, 2048, 119.53], [8, 2, 24, 2, 2048, 122.75],
  [4, 4, 24, 1, 2048, 130.6],
] as const).map(row => ofBigscience(14_336, 64, 72, row))
/** Models of other sizes there, of 25 to 27 February, as after that sums of gradients were wider; those whose heads' sizes are a multiple of eight and that have at least two windows a device where layers are shared: what its machine is calibrated on, which none of the rows above is. */
const otherSizes: readonly Published[] = [
  ...([[8, 4, 12, 2, 2048, 103.82], [8, 4, 12, 4, 2048, 113.21], [8, 8, 6, 2, 2048, 129.61]] as const).map(row => ofBigscience(13_312, 64, 84, row)),
  ...([[8, 8, 6, 4, 2048, 118.12], [8, 8, 6, 2, 2048, 133.57], [8, 8, 6, 4, 2048, 118.24], [16, 4, 6, 4, 2048, 115.55]] as const).map(row => ofBigscience(13_824, 96, 78, row)),
  ofBigscience(12_288, 64, 96, [8, 1, 48, 1, 2048, 142.17]),
  // Of 78 layers in twelve stages all but the last had seven, by other numbers of heads and windows.
  ...([[64, 2, 2048, 103.51], [96, 2, 2048, 107.12], [64, 4, 2048, 106.72], [96, 4, 2048, 110.31], [96, 2, 512, 35.77], [96, 2, 1024, 59.65], [96, 2, 1536, 83.11]] as const)
    .map(([heads, microbatch, batch, seconds]): Published => ({ ...ofBigscience(13_824, heads, 78, [8, 4, 12, microbatch, batch, seconds]), perStage: [...Array.from({ length: 11 }, () => 7), 1] })),
]
/** The run itself, README.md there: 70 layers in twelve stages, of which the first and the last have five. */
const bloom: Published = {
  what: 'the run', embed: 14_336, heads: 112, layers: 70, seq: 2048, vocab: 250_880, tensor: 4, data: 8, stages: 12, perStage: [5, ...Array.from({ length: 10 }, () => 6), 5], microbatch: 2, batch: 2048, sharded: 'moments', ms: 104_700,
}

/** MaxText's sizes by their scale (`base.yml` and `pyconfig.py` of 15 December 2023): each is doubled where the scale's power of two has its turn. */
function maxTextSizes(scale: number): Pick<GptRow, 'embed' | 'heads' | 'layers' | 'hidden'> {
  const power = Math.log2(scale)
  const [whole, rest] = [Math.floor(power / 3), power % 3]
  const wide = 2 ** (whole + (rest > 0 ? 1 : 0))
  return { embed: 2560 * 2 ** (whole + (rest > 1 ? 1 : 0)), heads: 8 * wide, layers: 16 * 2 ** whole, hidden: 8192 * wide }
}
/**
 * Billions of parameters, TPU v5p chips of a slice, slices, windows of a chip, tensor ways; TFLOP/s of a chip, which count six operations of a weight and token, and half of the scores. Windows and ways are those of the scripts that came
 * with the table; but for 512B, whose 16 ways JAX cannot lay on 8 × 8 × 8 chips: eight, as they had it six weeks later.
 */
const maxTextRows = ([
  [32, 64, 1, 8, 4, 328], [32, 64, 2, 8, 4, 319], [64, 64, 1, 4, 4, 323], [64, 64, 2, 4, 4, 309], [128, 128, 1, 2, 8, 315], [128, 128, 2, 2, 8, 305], [128, 256, 1, 2, 8, 316], [128, 256, 2, 2, 8, 274],
  [256, 512, 1, 2, 8, 308], [256, 512, 2, 2, 8, 289], [512, 512, 1, 2, 8, 294], [512, 512, 2, 2, 8, 282], [1024, 1024, 1, 2, 16, 254], [1024, 1024, 2, 2, 16, 237], [1024, 2048, 1, 2, 16, 297], [1024, 2048, 2, 2, 16, 279],
] as const).map(([scale, chips, slices, windows, tensor, tflops]): Published => {
  const sizes = maxTextSizes(scale)
  const [data, seq, vocab, headDim] = [chips * slices / tensor, 2048, 32_768, 256]
  const { embed, heads, layers, hidden = 0 } = sizes
  const weights = layers * (4 * embed * heads * headDim + 2 * embed * hidden) + vocab * embed
  const flops = windows * seq * (6 * weights + 6 * seq * heads * headDim * layers)
  return {
    ...sizes, what: `${scale}B on ${slices} × ${chips}`, headDim, seq, vocab, decoder: 'MaxText', tensor, data, stages: 1, slices, sharded: 'weights', split: 'embed', attends: { block: 512, back: 7, again: scale < 512 }, beside: 'gathering', microbatch: windows * tensor, batch: windows * chips * slices,
    recompute: scale >= 512 ? 'needed' : 'nothing', ms: flops / tflops / 1e9,
  }
})

/** MosaicML, llm-foundry, scripts/train/benchmarking/README.md: the sizes of its models. */
const mpt: { readonly [model: string]: readonly [embed: number, heads: number, layers: number] } = {
  '125m': [768, 12, 12], '350m': [1024, 16, 24], '760m': [1536, 12, 24], '1b': [2048, 16, 24], '3b': [2560, 20, 32], '7b': [4096, 32, 32], '13b': [5120, 40, 40], '30b': [7168, 56, 48], '70b': [8192, 64, 80],
}
/** Its tables as they are in mpt.csv here, but for FP8's: windows a second are rounded there, so that steps are told by tokens a second. */
async function mosaic(): Promise<readonly (Published & { readonly gpu: string })[]> {
  const text = await readFile(join(import.meta.dirname, 'mpt.csv'), 'utf8')
  return text.trim().split('\n').slice(1).map(line => {
    const [gpu = '', name = '', mode, form, checkpointed, ...numbers] = line.split(',')
    const [seq = NaN, gpus = NaN, microbatch = NaN, batch = NaN, rate = NaN] = numbers.map(Number)
    const sizes = mpt[name]
    if (sizes === undefined || [seq, gpus, microbatch, batch, rate].some(Number.isNaN)) throw new Error(`not a row of MosaicML's: ${line}`)
    const [embed, heads, layers] = sizes
    return {
      gpu, what: `${name}, ${seq} tokens, ${gpus} GPUs`, embed, heads, layers, seq, vocab: 50_368, tensor: 1, data: gpus, stages: 1, microbatch, batch, attends: { block: 128, back: 5 }, fsdp: mode === 'DEFAULT' ? 'f32' : 'bf16',
      // Of rows that are reduced in f32 PyTorch was 2.1, whose checkpoints stop where nothing more is needed.
      recompute: checkpointed !== 'True' ? 'nothing' : mode === 'DEFAULT' ? 'needed' : 'layers',
      sharded: form === 'FULL_SHARD' ? 'weights' : 'moments', ms: 1000 * batch * seq / rate,
    } satisfies Published & { readonly gpu: string }
  })
}

export async function publishedTables(): Promise<readonly Table[]> {
  const rows = await mosaic()
  const of = (gpu: string, many: (gpus: number) => boolean): readonly Published[] => rows.filter(r => r.gpu === gpu && many(r.data)).map(({ gpu: _, ...row }) => row)
  const foundry = 'MosaicML, llm-foundry, scripts/train/benchmarking/README.md (8c8dd48, 2025-07), Apache-2.0'
  return [
    { name: 'Megatron, 8 to 512 A100', machine: 'megatron', source: 'Korthikanti et al. 2022, arXiv 2205.05198, table 5', rows: korthikanti },
    { name: 'BLOOM, 384 A100', machine: 'bigscience', source: 'BigScience, train/tr11-176B-ml/chronicles-prequel.md and README.md', rows: [...bigscience, bloom], calibration: otherSizes },
    { name: 'MPT, A100 80 GB', machine: '8xa100', source: foundry, rows: of('a100_80gb', () => true) },
    { name: 'MPT, A100 40 GB', machine: '8xa100-40', source: foundry, rows: of('a100_40gb', () => true) },
    { name: 'MPT, H100', machine: '8xh100', source: foundry, rows: of('h100_80gb', () => true) },
    { name: 'MaxText, TPU v5p', machine: 'v5p', source: 'AI-Hypercomputer/maxtext, MaxText/configs/v5p/README.md and its scripts (76bd53b, 2023-12), Apache-2.0', rows: maxTextRows },
  ]
}
