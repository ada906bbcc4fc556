/** How a model's parameters lie in files that other tools write and read: under other names, a tensor for each layer, several parameters in one tensor. */

/**
 * One parameter in the files. Its elements keep their order, so that every device reads only the bytes it needs: a parameter's dims are declared in the
 * order in which the files have them.
 */
export interface StoredAs {
  /**
   * The tensor's name. `{d}` stands for the index along the parameter's first dim d, of which each index has a tensor of its own: `model.layers.{layers}.mlp.up_proj.weight`; a second one for that along its
   * second dim. `{d+3}` is three more than the index, `{d*2+1}` every second one.
   */
  readonly name: string
  /** The tensor's axes, each of one or several of the parameter's remaining dims, all in their order: `[['heads', 'headDim'], ['embed']]`. Each dim is an axis of its own unless said; `[]` is an axis of size 1. */
  readonly axes?: readonly (readonly string[])[]
  /** Where the parameter is but a part of the tensor: along which of its axes, from which index on, of how many. */
  readonly part?: { readonly axis: number; readonly from: number; readonly of: number }
}

/** A model's parameters in files of another tool. */
export interface Naming {
  /** By the parameters' paths; a string is the name of a tensor that is the parameter. */
  readonly parameters: { readonly [path: string]: StoredAs | string }
  /** What all names begin with, and files of a part of the model leave out: `model.`, `bert.`. */
  readonly prefix?: string
  /** Tensors of the other tool's model that ours leaves out because they hold nothing but zeros, with their shapes: written so, and refused where they hold anything else. */
  readonly zeros?: { readonly [name: string]: readonly number[] }
  /** Of a dim that names count along, which number each of its indices has in them, where these are not in order: layers in the places of a pipeline. Undefined is in no file, and zeros. */
  readonly order?: { readonly [dim: string]: readonly (number | undefined)[] }
  /** Names, with `*` for any characters, of tensors that say nothing: masks, positions that count up, a copy of what is tied. */
  readonly idle?: readonly string[]
  /**
   * What names of tensors begin with that are copies: where a file lacks one, the tensor without it is read. Checkpoints hold them; a file of weights alone does not, so that what
   * it holds is the model as other tools have it.
   */
  readonly copies?: string
}

/** What an adapter adds to a tensor of its base: `up` [given, rank] times `down` [rank, contracted] times `scale`; at `from` along `axis` where it changes a part of it. */
export interface Change {
  readonly tensor: string
  readonly down: string
  readonly up: string
  readonly scale: number
  /** The tensor's axis that is contracted; the other one is what it gives. */
  readonly contracted: 0 | 1
  readonly part: { readonly axis: number; readonly from: number; readonly size: number } | undefined
}

/** Of a dim's name in a tensor's name: its name, what its index is multiplied by, and what is added. */
export const indexed: RegExp = /\{(\w+)(?:\*(\d+))?(?:\+(\d+))?\}/
/** The dims by whose indices a tensor is named, in their order. */
export const indexedBy = (name: string): string[] => [...name.matchAll(new RegExp(indexed, 'g'))].map(([, dim = '']) => dim)
/** The name of the tensor at an index along each of them. */
export const nameAt = (name: string, ...at: readonly number[]): string => at.reduce((n, i) => n.replace(indexed, (_, __, times = '1', more = '0') => String(i * Number(times) + Number(more))), name)

/** Whether a tensor of this name is a copy. */
export const isCopy = ({ copies }: Naming, name: string): boolean => copies !== undefined && name.startsWith(copies)

export const storedAs = (stored: StoredAs | string): StoredAs => (typeof stored === 'string' ? { name: stored } : stored)
