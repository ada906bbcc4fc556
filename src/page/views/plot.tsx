/** A minute of something counted second by second, as bars and as a table. */
import type { VNode } from 'preact'
import { count } from '../shown.ts'

/** The next of 1, 2, 5, 10, 20, … */
function ceiling(x: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, x)))
  return [1, 2, 5, 10].map(f => f * power).find(c => c >= x) ?? 10 * power
}

export function Plot({ name, values }: { readonly name: string; readonly values: readonly number[] }): VNode {
  const top = ceiling(Math.max(...values))
  const last = values.at(-1) ?? 0
  return (
    <figure class="plot">
      <div class="drawing">
        <span class="number muted most" aria-hidden="true">{count(top)}</span>
        <svg viewBox={`0 0 ${values.length} 100`} preserveAspectRatio="none" role="img" aria-label={`${name} in each of the last ${values.length} seconds: ${count(last)} in the last one, ${count(Math.max(...values))} at most`}>
          {values.map((v, i) => <rect key={i} x={i + 0.1} width={0.8} y={100 - 100 * v / top} height={100 * v / top}><title>{`${values.length - i} s ago: ${count(v)}`}</title></rect>)}
        </svg>
        <span class="muted from" aria-hidden="true">{values.length} s ago</span>
        <span class="muted to" aria-hidden="true">now</span>
      </div>
      <details>
        <summary>As a table</summary>
        <div class="scrolled">
          <table>
            <thead><tr><th scope="col">Seconds ago</th><th scope="col">{name}</th></tr></thead>
            <tbody>{values.map((v, i) => <tr key={i}><td>{values.length - i}</td><td>{count(v)}</td></tr>).reverse()}</tbody>
          </table>
        </div>
      </details>
    </figure>
  )
}
