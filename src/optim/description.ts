/** What an optimizer or a schedule is, as plain data: for manifests, and for seeing whether two runs are the same. */

import type { Plain } from '../core/plain.ts'

export type { Plain }

/** The name, the variant where there are several, and all hyperparameters, defaults too. A function of parameters is "by parameter": what it says is not in it. */
export type Description = { readonly name: string; readonly [option: string]: Plain }

export const byParameterOr = (x: unknown): Plain => (typeof x === 'function' ? 'by parameter' : Array.isArray(x) ? x.map(String) : x as Plain)
