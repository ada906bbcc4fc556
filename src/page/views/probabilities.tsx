/** The tokens of an answer that one points at, and what else was likely in their places. */
import { signal, type Signal } from '@preact/signals'
import type { VNode } from 'preact'
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks'
import type { Piece, Token } from '../conversation.ts'
import { percent, visible } from '../shown.ts'

interface Pointed { readonly piece: Piece; readonly element: Element }
const pointed: Signal<Pointed | undefined> = signal(undefined)

export const showToken = (piece: Piece, element: Element): void => { pointed.value = piece.tokens.length > 0 ? { piece, element } : undefined }
/** @returns whether one was shown */
export function hideToken(): boolean {
  const was = pointed.value !== undefined
  pointed.value = undefined
  return was
}

function OneToken({ token: { token, logprob, top }, named }: { readonly token: Token; readonly named: boolean }): VNode {
  const others = top.some(t => t.token === token) ? top : [...top, { token, logprob }]
  return (
    <table>
      <caption class={named ? '' : 'unseen'}><code>{visible(token)}</code> {percent(Math.exp(logprob))}</caption>
      <tbody>
        {others.map((t, i) => (
          <tr key={i} data-drawn={t.token === token}>
            <th scope="row"><code>{visible(t.token)}</code></th>
            <td class="bar"><span style={{ width: `${100 * Math.exp(t.logprob)}%` }} /></td>
            <td class="number">{percent(Math.exp(t.logprob))}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

export function Probabilities(): VNode | null {
  const box = useRef<HTMLDivElement>(null)
  const at = pointed.value
  useLayoutEffect(() => {
    if (at === undefined || box.current === null) return undefined
    at.element.classList.add('at')
    const lines = at.element.getClientRects()
    const [first, last] = [lines[0], lines[lines.length - 1]]
    const { width, height } = box.current.getBoundingClientRect()
    if (first !== undefined && last !== undefined) {
      const below = last.bottom + 6
      box.current.style.left = `${Math.max(8, Math.min(first.left, innerWidth - width - 8))}px`
      box.current.style.top = `${below + height < innerHeight - 8 ? below : Math.max(8, first.top - height - 6)}px`
    }
    return () => { at.element.classList.remove('at') }
  }, [at])
  useEffect(() => {
    const hide = (): void => { hideToken() }
    addEventListener('scroll', hide, { capture: true, passive: true })
    addEventListener('resize', hide)
    return () => { removeEventListener('scroll', hide, { capture: true }); removeEventListener('resize', hide) }
  }, [])
  if (at === undefined) return null
  return <div class="probabilities" ref={box} role="tooltip" aria-live="polite">{at.piece.tokens.map((t, i) => <OneToken key={i} token={t} named={at.piece.tokens.length > 1} />)}</div>
}
