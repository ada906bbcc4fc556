/** What a language of ops is made of: nodes typed by their op, and the graphs of them. */
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import type { Site } from '../core/errors.ts'

export interface TensorType { readonly shape: readonly Dim[]; readonly dtype: DType }

/** A node of a language whose ops and attributes are `A`: the global one (`Attrs`) or a device's. */
export type NodeOf<A, K extends keyof A = keyof A> = {
  [P in K]: {
    /** Tells nodes apart; a node's is larger than those of its operands. */
    readonly id: number
    readonly op: P
    readonly inputs: readonly NodeOf<A>[]
    readonly attrs: A[P]
    /** One type for all ops but loops. */
    readonly results: readonly TensorType[]
    readonly site: Site | undefined
  }
}[K]

/** A closed graph in a language of ops. */
export interface GraphOf<A> { readonly inputs: readonly NodeOf<A, 'input' & keyof A>[]; readonly outputs: readonly NodeOf<A>[] }
