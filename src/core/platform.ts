/** What is chosen otherwise from platform to platform: one table, read where programs are written and where a plugin is opened. */
import type { DType } from './dtype.ts'

/** As the user names it. `other` is one that nobody here knows: it gets what every compiler takes. */
export type PlatformName = 'cpu' | 'cuda' | 'rocm' | 'tpu' | 'oneapi' | 'metal' | 'other'

/**
 * In what numbers factors of f32 are multiplied, where sums are f32 always: as they are (`f32`), with 10 bits of fraction (`tf32`), with 7 (`bf16`). Accelerators take less than f32
 * by themselves unless told otherwise, and are told.
 */
export type Contractions = 'f32' | 'tf32' | 'bf16'

/** What a kernel of attention can. */
export interface AttentionBounds {
  /** Of queries, keys and values. */
  readonly dtypes: readonly DType[]
  /** A head has at most so many numbers, and a multiple of so many; and a window one of so many places. */
  readonly most: number
  readonly multipleOf: number
  readonly lengths: number
  /** Whether several heads of queries may share keys and values; and whether a query may see other keys than all, or those that are not later. */
  readonly groups: boolean
  readonly masks: boolean
  /** Whether a gradient makes the result again by the way. */
  readonly again: boolean
}
/** NVIDIA's, and the one for CPUs in native/kernels/flash.c. */
export const attentionKernels: { readonly [K in 'cuDNN' | 'our own']: AttentionBounds } = {
  cuDNN: { dtypes: ['bf16', 'f16'], most: 128, multipleOf: 8, lengths: 64, groups: false, masks: false, again: false },
  'our own': { dtypes: ['f32', 'bf16', 'f16'], most: 256, multipleOf: 1, lengths: 1, groups: true, masks: true, again: true },
}

/** How programs are written for a platform. */
export interface Choices {
  /** Contractions as rows × columns, every reordering written out, or over dims as they lie. XLA:CPU copies for anything but the first; compilers for accelerators choose layouts themselves. */
  readonly products: 'rows by columns' | 'as they lie'
  /** Whether a product of few rows and many columns is written turned over, so that its smaller factor is the one that is packed. */
  readonly turnsProducts: boolean
  /** Extrema in words of comparisons, some parts of a row first, or as a reduction by `maximum`. XLA:CPU loses a NaN of the second. */
  readonly extrema: 'compared' | 'reduced'
  /** Convolutions of few weights a channel as sums of products, those with more than two windows as sums of ones with fewer; or each as the one op that it is. */
  readonly convolutions: 'in parts' | 'whole'
  /** How f32 is rounded to bf16: in words, by arithmetic of its bits, or as the one op that it is. XLA:CPU has a function of eight numbers for it, so that no loop with one in it has vectors of sixteen. */
  readonly rounding: 'in words' | 'as it is'
  /** Whether what is about to be transposed is made first, by a barrier; and whether a barrier of one operand is left out. */
  readonly barriers: 'for transposes' | 'as they are'
  /** What `f32`, `tf32` and `bf16` are written as: nothing where the platform multiplies f32 as it is anyway, else the precision or the algorithm that says so. One that is not here is refused. */
  readonly contractions: { readonly [C in Contractions]?: 'unsaid' | 'highest' | 'algorithm' }
  /** Contractions of floats of 8 bits as they are, for kernels that multiply such, or widened to f32 before. */
  readonly eights: 'as they are' | 'widened'
  /** Whose kernels compute attention without holding the scores: on CPUs where they can be built. */
  readonly fusedAttention?: keyof typeof attentionKernels
  /** What a loop fills before its first turn: memory as it is, taken when the loop begins, on CPUs where our own kernels can be built; or zeros, which XLA makes when the program begins. */
  readonly stacks: 'unwritten' | 'zeros'
  /** What memory of the host is called in programs, where they can keep something there; `its own` where that is the device's. */
  readonly hostMemory?: 'pinned_host' | 'its own'
}

const accelerator = { products: 'as they lie', turnsProducts: false, extrema: 'reduced', convolutions: 'whole', rounding: 'as it is', barriers: 'as they are', eights: 'widened', stacks: 'zeros' } as const
const all = { f32: 'highest', tf32: 'algorithm', bf16: 'algorithm' } as const

/** Measured for `cpu`; for the others it follows from what their compilers document, and none has been run. */
export const choices: { readonly [P in PlatformName]: Choices } = {
  cpu: { products: 'rows by columns', turnsProducts: true, extrema: 'compared', convolutions: 'in parts', rounding: 'in words', barriers: 'for transposes', contractions: { f32: 'unsaid' }, eights: 'widened', fusedAttention: 'our own', stacks: 'unwritten', hostMemory: 'its own' },
  cuda: { ...accelerator, contractions: all, eights: 'as they are', fusedAttention: 'cuDNN', hostMemory: 'pinned_host' },
  rocm: { ...accelerator, contractions: all, hostMemory: 'pinned_host' },
  tpu: { ...accelerator, contractions: { f32: 'highest', bf16: 'algorithm' }, hostMemory: 'pinned_host' },
  oneapi: { ...accelerator, contractions: { f32: 'highest' } },
  metal: { ...accelerator, contractions: { f32: 'highest' } },
  other: { ...accelerator, contractions: { f32: 'highest' } },
}

/** What of it decides which values a program has in memory. */
export type Written = Pick<Choices, 'convolutions' | 'fusedAttention' | 'stacks'>

/** What a program is written for. */
export interface Lowering { readonly platform: PlatformName; readonly contractions: Contractions }
export const forCpu: Lowering = { platform: 'cpu', contractions: 'f32' }
