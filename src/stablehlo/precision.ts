/** In what numbers contractions multiply, as attributes: compilers for accelerators round factors of f32 unless a program says that they may not. */
import type { Scope } from './scope.ts'
import type { Ssa } from './writer.ts'

const highest = ', precision_config = [#stablehlo<precision HIGHEST>, #stablehlo<precision HIGHEST>]'

function said({ choices, contractions }: Scope): 'unsaid' | 'highest' | 'algorithm' {
  const found = choices.contractions[contractions]
  if (found === undefined) throw new Error(`the platform multiplies nothing in ${contractions}`)
  return found
}

/** Halves are multiplied as they are. */
const isRounded = (left: Ssa, right: Ssa): boolean => left.dtype === 'f32' && right.dtype === 'f32'

export function dotPrecision(left: Ssa, right: Ssa, scope: Scope): string {
  const how = said(scope)
  if (how === 'unsaid' || !isRounded(left, right)) return ''
  const { contractions } = scope
  return how === 'highest' ? highest : `, algorithm = #stablehlo.dot_algorithm<lhs_precision_type = ${contractions}, rhs_precision_type = ${contractions}, accumulation_type = f32, lhs_component_count = 1, rhs_component_count = 1, num_primitive_operations = 1, allow_imprecise_accumulation = false>`
}

/** A convolution has no algorithm to name: where it need not be exact, it is what the compiler takes, tf32 on a GPU. */
export const convPrecision = (left: Ssa, right: Ssa, scope: Scope): string => (said(scope) === 'highest' && isRounded(left, right) ? highest : '')
