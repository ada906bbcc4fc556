/** Cases of the op table that JAX does not judge, each with the reason. */
import { integers } from '../cases/numbers.ts'

const exact = 'what integers of every width give at their edges (division by 0, overflow, shifts too far) JAX leaves open: exact arithmetic and XLA judge it in the op table'
export const unjudged: { readonly [name: string]: string } = Object.fromEntries(integers.map(c => [c.name, exact]))
