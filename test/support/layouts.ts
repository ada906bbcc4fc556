/** Every legal layout of some dims over a mesh. */
import type { Dim } from '../../src/core/dim.ts'
import { partsOf, type Mesh } from '../../src/core/mesh.ts'
import type { Layout } from '../../src/core/layout.ts'

/** Each dim whole, on one axis, or on several; whether the model allows it is for the checker to say. */
export function layoutsOf(dims: readonly Dim[], mesh: Mesh): Layout[] {
  const names = mesh.axes.filter(a => a.size > 1).map(a => a.name)
  const options: (readonly string[])[] = [[], ...names.map(n => [n]), ...names.flatMap(a => names.filter(b => b !== a).map(b => [a, b]))]
  let all: { readonly [dim: string]: readonly string[] }[] = [{}]
  for (const d of dims) {
    const fitting = options.filter(axes => d.size % partsOf(mesh, axes) === 0)
    all = all.flatMap(l => fitting.map(axes => (axes.length === 0 ? l : { ...l, [d.name]: axes })))
  }
  return all
}
