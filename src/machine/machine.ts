/** What a machine can do, in figures: those of a machine file, and the schema that it is held to. docs/foresight.md says how each is used. */
import { z } from 'zod'
import { dtypes, type DType } from '../core/dtype.ts'
import { choices, type PlatformName } from '../core/platform.ts'

/** A curve by points [at, value], the least first: between two of them straight in the logarithms of both, beyond the last as there. */
export type Points = [number, number][]

/** How fast products are whose smallest side is `side` or more. */
export interface ProductRates {
  side: number
  /** [operations of one product, operations a second]. */
  points: Points
}

/** How fast convolutions are of which each result is a sum of `depth` products, and whose least number of channels, or of examples, is `side` or more. */
export interface ConvolutionRates extends ProductRates { depth: number }

export type LinkedCollective = 'all-reduce' | 'all-gather' | 'reduce-scatter' | 'all-to-all' | 'permute'

/** What collectives take that were measured among so many: [bytes that enter on each device, microseconds]. */
export interface CollectiveTimes {
  among: number
  /** Devices of a host that took part, all groups together; as many as `among` unless said. */
  onHost?: number | undefined
  points: Points
}

/** What connects devices: those of a domain, or domains with each other. */
export interface Links {
  /** `switch`: any device reaches any other at full speed. `ring`: neighbours, with both ends joined. `torus`: the same along each dim of a torus, joined where an axis goes all the way round. */
  topology: 'switch' | 'ring' | 'torus'
  /** Of a torus: a dim goes all the way round where this divides its size; otherwise it has half the speed. A mesh's axes share the torus's `dims`: see src/cost/torus.ts. */
  wrap?: number | undefined
  dims?: number | undefined
  /** What one device can send to others at most, bytes a second; of a torus along one axis that goes all the way round. Fitted and measured times are never faster. */
  perFlow: number
  /** What all devices of a host can send together at most, bytes a second. */
  perHost: number
  /** What a message takes before its first byte, microseconds. */
  latencyUs: number
  /** What of `perFlow` large collectives reach, by kind, where no times are given: 0 to 1. */
  share: { [K in LinkedCollective]?: number | undefined }
  /** Measured times. */
  times: { [K in LinkedCollective]?: CollectiveTimes[] | undefined }
}

/** How fast a device computes. */
export interface Figures {
  /** What products reach. Of a dtype that is not named, as of the next wider one. */
  products: { [K in DType]?: ProductRates[] | undefined }
  /** What convolutions reach; as products of the same operations where nothing is said. */
  convolutions: { [K in DType]?: ConvolutionRates[] | undefined }
  /** What a kernel of our own that attends reaches, by the size of a head: of products with keys that a query sees. Where nothing is said attention is what its parts are. */
  attention: { [K in DType]?: ProductRates[] | undefined }
  bandwidth: {
    /** Bytes a second by specification. */
    peak: number
    /** [bytes that a kernel reads and writes, bytes a second]. */
    points: Points
    /** The same of copies that turn matrices over: what lies one after another is read from far apart, or written so. As any kernel where nothing is said. */
    turned?: Points | undefined
    /** The same of copies around a collective that lay the parts of devices side by side, each row of a part whole. As those that turn matrices over where nothing is said. */
    parts?: Points | undefined
  }
  vector: {
    /** Simple elementwise operations a second. */
    rate: number
    /** What others are, in simple ones; `scalar`: one of a kernel that computes one number at a time. */
    costs: { [op: string]: number }
  }
  overhead: {
    /** A kernel, before it does anything: microseconds. */
    kernelUs: number
    /** A kernel's launch by the host, which goes on while the device computes what was launched before: a step takes as long as all launches at the least. 0 where a program is launched as a whole. */
    launchUs: number
    /** A turn of a loop, beside its kernels. */
    turnUs: number
    /** A step, beside its kernels: what the host does. */
    stepUs: number
    /** An argument or result of a step, on each device of a host. */
    argumentUs: number
  }
  /**
   * How much later than all would be done if work were spread evenly the last of devices comes that share a host's cores: [what each has computed since they last waited for each other, how much later], in
   * microseconds. Left out where each has its own.
   */
  lag?: Points | undefined
}

/** A machine with nothing left open: the figures of `Figures` are those of a device alone on its host. */
export interface Machine extends Figures {
  name: string
  /** Devices of one host: `--hosts N` is N times as many. */
  devicesPerHost: number
  /** Devices that the inner links connect: a host's, a rack's, a pod's. */
  domain: number
  memory: {
    /** Of one device. */
    bytes: number
    /** What the runtime keeps of it for itself. */
    reserved: number
    /** What all devices of a host have together, where they share it. */
    perHost?: number | undefined
  }
  /** Products by dtype, operations a second by specification, without sparsity: what utilisation is of. */
  peak: { [K in DType]?: number | undefined }
  /** The same figures where so many devices of a host compute at once and mind each other, as those of a processor do that share its cores; accelerators do not. */
  crowded: ({ devices: number } & Figures)[]
  links: { within: Links; between: Links | null }
  /** What programs for it are written for, which decides what of them lies in memory: `cpu`, or `other` of a machine that fuses rows, unless said. */
  platform: PlatformName
  /** What a compiler for it makes one kernel: `elements` that are mapped one by one, as XLA for CPUs, or whole `rows`, so that a softmax or a norm reads and writes once, as compilers and libraries for accelerators do. */
  fusion: 'elements' | 'rows'
  /**
   * When a product reads its operands: `beside` its multiplications, as accelerators do, which bring the next tile while they compute, or `before` them, as libraries for processors do that pack matrices first, and whose
   * rates were measured with operands in caches.
   */
  operands: 'beside' | 'before'
  overlap: {
    /** What of a collective that nothing waits for goes on beside computation: 0 to 1. */
    share: number
    /** How many times longer computation takes meanwhile. */
    slowdown: number
  }
  /** Which variant of it: its power in watts changes its clock. */
  power: string | null
  /** Of one device, in dollars. */
  pricePerHour: number | null
  /** Where figures are from, by the field's name. */
  sources: { [figure: string]: string }
}

type Open<T> = T extends readonly unknown[] | string | number | boolean | null ? T : string extends keyof T ? T : { [K in keyof T]?: Open<T[K]> | undefined }
/** What has a default may be left out. */
export type MachineInput = Pick<Machine, 'name' | 'devicesPerHost' | 'peak' | 'products' | 'sources'> & { memory: Pick<Machine['memory'], 'bytes'> & Open<Machine['memory']>; bandwidth: Machine['bandwidth']; links: { within: LinksInput; between?: LinksInput | null | undefined } }
  & Open<Omit<Machine, 'name' | 'devicesPerHost' | 'peak' | 'products' | 'memory' | 'bandwidth' | 'links' | 'sources' | 'crowded' | 'lag'>> & Pick<Figures, 'lag'> & { crowded?: ({ devices: number } & FiguresInput)[] | undefined }
type FiguresInput = Pick<Figures, 'products' | 'bandwidth' | 'lag'> & Open<Omit<Figures, 'products' | 'bandwidth' | 'lag'>>
type LinksInput = Pick<Links, 'topology' | 'perFlow' | 'perHost' | 'latencyUs'> & Open<Omit<Links, 'topology' | 'perFlow' | 'perHost' | 'latencyUs'>>

const positive = z.number().positive()
/** Of a figure in the units of a data sheet, such as 989 of TFLOP/s, all times would come out as years. */
const rate = positive.refine(n => n >= 1e6, 'give operations or bytes a second: 989 TFLOP/s are 989e12, 900 GB/s 900e9')
const bytes = positive.refine(n => n >= 1e6, 'give bytes: 80 GB are 80e9')
const share = z.number().min(0).max(1)
const points: z.ZodType<Points, Points> = z.array(z.tuple([positive, positive])).min(1).refine(list => list.every(([at], i) => at > (list[i - 1]?.[0] ?? 0)), 'give points [at, value], the least first and none twice')
const kinds = ['all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all', 'permute'] as const
const byKind = <T extends z.ZodType>(of: T): z.ZodOptional<T>[] => kinds.map(() => of.optional())
const each = <T extends z.ZodType>(of: T): { [K in LinkedCollective]: z.ZodOptional<T> } => Object.fromEntries(byKind(of).map((v, i) => [kinds[i], v])) as { [K in LinkedCollective]: z.ZodOptional<T> }
const byDtype = <T extends z.ZodType>(of: T): { [K in DType]: z.ZodOptional<T> } => Object.fromEntries(Object.keys(dtypes).map(d => [d, of.optional()])) as { [K in DType]: z.ZodOptional<T> }

const links = z.strictObject({
  topology: z.enum(['switch', 'ring', 'torus']), wrap: z.int().min(2).optional(), dims: z.int().min(1).max(3).optional(), perFlow: rate, perHost: rate, latencyUs: z.number().min(0),
  share: z.strictObject(each(share.positive())).prefault({}),
  times: z.strictObject(each(z.array(z.strictObject({ among: z.int().min(2), onHost: z.int().min(1).optional(), points })).min(1))).prefault({}),
})
const rates = z.array(z.strictObject({ side: z.int().min(1), points })).min(1)
const convolved = z.array(z.strictObject({ side: z.int().min(1), depth: z.int().min(1), points })).min(1)

/** What operations cost beside an addition on most vector units: each is some ten instructions, a Threefry word some hundred. */
const usualCosts = { exp: 10, log: 10, tanh: 15, sqrt: 4, div: 4, pow: 20, sin: 15, erf: 15, threefry: 100, reduce: 1, cumulative: 20, sort: 20, scatter: 10, scalar: 1 }

const figures = {
  products: z.strictObject(byDtype(rates)).refine(p => Object.keys(p).length > 0, 'give what products of a dtype reach: { f32: [{ side: 1, points: [[1e9, 5e10]] }] }'),
  convolutions: z.strictObject(byDtype(convolved)).prefault({}),
  attention: z.strictObject(byDtype(rates)).prefault({}),
  bandwidth: z.strictObject({ peak: rate, points, turned: points.optional(), parts: points.optional() }),
  vector: z.strictObject({ rate: positive.default(1e15), costs: z.record(z.string(), positive).default({}) }).prefault({}),
  overhead: z.strictObject({ kernelUs: z.number().min(0).default(2), launchUs: z.number().min(0).default(0), turnUs: z.number().min(0).default(2), stepUs: z.number().min(0).default(100), argumentUs: z.number().min(0).default(0) }).prefault({}),
  lag: points.optional(),
}

export const machineSchema: z.ZodType<Machine, MachineInput> = z.strictObject({
  name: z.string().min(1),
  devicesPerHost: z.int().min(1),
  domain: z.int().min(1).optional(),
  memory: z.strictObject({ bytes, reserved: z.number().min(0).default(0), perHost: bytes.optional() }).refine(m => m.reserved < m.bytes, 'give reserved fewer bytes than there are'),
  peak: z.strictObject(byDtype(rate)),
  ...figures,
  crowded: z.array(z.strictObject({ devices: z.int().min(1), ...figures })).default([]),
  links: z.strictObject({ within: links, between: links.nullable().default(null) }),
  platform: z.enum(Object.keys(choices) as PlatformName[]).optional(),
  fusion: z.enum(['elements', 'rows']).default('elements'),
  operands: z.enum(['beside', 'before']).default('beside'),
  overlap: z.strictObject({ share: share.default(0), slowdown: z.number().min(1).default(1) }).prefault({}),
  power: z.string().nullable().default(null),
  pricePerHour: positive.nullable().default(null),
  sources: z.record(z.string(), z.string()),
}).transform((m): Machine => {
  const costs = <F extends Figures>(f: F): F => ({ ...f, vector: { ...f.vector, costs: { ...usualCosts, ...f.vector.costs } } })
  return { ...costs(m), domain: m.domain ?? m.devicesPerHost, platform: m.platform ?? (m.fusion === 'rows' ? 'other' : 'cpu'), crowded: m.crowded.map(costs) }
})
