/** What a job of ranks is asked, and how its answers are told from what else it prints. */
import type { MeshSizes } from '../support/again.ts'
import type { Trial } from '../support/op-table.ts'
import type { Form } from '../support/parallel-runs.ts'

export type Request =
  | { readonly task: 'nothing' }
  | { readonly task: 'ops'; readonly mesh: MeshSizes; readonly trials: readonly Trial[]; readonly where: string }
  | { readonly task: 'numbers'; readonly form: Form; readonly wide?: true }
  /** A form of test/parallel/forms.ts by its name. */
  | { readonly task: 'trained'; readonly form: string; readonly count: number }
  /** Of a wide run in a form, whose last rank throws. */
  | { readonly task: 'throws'; readonly form: Form }

/** What a line of rank 0 begins with that answers a request. */
export const answerMark = 'ANSWER '
