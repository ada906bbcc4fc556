/** An answer's text, token by token: each tells its probability to who points at it, or walks to it with the arrow keys. */
import { signal, type Signal } from '@preact/signals'
import { Component, type VNode } from 'preact'
import { useRef } from 'preact/hooks'
import type { Piece } from '../conversation.ts'
import { keep, kept } from '../kept.ts'
import { hideToken, showToken } from './probabilities.tsx'

const shadeName = 'meshwork-shade'
/** Whether what was unlikely is shaded. */
export const shade: Signal<boolean> = signal(kept('localStorage', shadeName) === 'yes')
export function setShade(on: boolean): void {
  shade.value = on
  keep('localStorage', shadeName, on ? 'yes' : 'no')
}

/** From 0, for what was likely, to 4. */
const unlikely = ({ tokens }: Piece): number => {
  const least = Math.min(0, ...tokens.map(t => t.logprob))
  return [0.7, 0.4, 0.2, 0.07].findIndex(p => Math.exp(least) > p) + 1 || 5
}

interface BlockProps { readonly pieces: readonly Piece[]; readonly from: number; readonly shaded: boolean }
/** So many pieces that a new one does not have all others looked at again. */
const blockSize = 64
class Block extends Component<BlockProps> {
  override shouldComponentUpdate({ pieces, shaded }: BlockProps): boolean {
    const own = this.props.pieces
    return shaded !== this.props.shaded || pieces.length !== own.length || pieces.at(-1) !== own.at(-1) || pieces[0] !== own[0]
  }
  override render({ pieces, from, shaded }: BlockProps): VNode {
    return (
      <>
        {pieces.map((piece, i) => (piece.text === ''
          ? <span key={i} data-i={from + i} class="end" >end</span>
          : <span key={i} data-i={from + i} data-unlikely={shaded && piece.tokens.length > 0 ? unlikely(piece) - 1 : undefined}>{piece.text}</span>))}
      </>
    )
  }
}

export function AnswerText({ pieces: all, writing }: { readonly pieces: readonly Piece[]; readonly writing: boolean }): VNode {
  // What has no text yet may be the beginning of a character.
  const pieces = writing && all.at(-1)?.text === '' ? all.slice(0, -1) : all
  const box = useRef<HTMLDivElement>(null)
  const walked = useRef(-1)
  const known = pieces.some(p => p.tokens.length > 0)
  const show = (i: number): void => {
    const element = box.current?.querySelector(`[data-i="${i}"]`)
    const piece = pieces[i]
    if (element === null || element === undefined || piece === undefined) return
    walked.current = i
    element.scrollIntoView({ block: 'nearest' })
    showToken(piece, element)
  }
  const pointed = (target: EventTarget | null): void => {
    const i = (target as Element).getAttribute('data-i')
    const piece = i === null ? undefined : pieces[Number(i)]
    if (piece === undefined) hideToken()
    else showToken(piece, target as Element)
  }
  const steps: Readonly<Record<string, (i: number) => number>> = { ArrowRight: i => Math.min(pieces.length - 1, i + 1), ArrowLeft: i => Math.max(0, i - 1), Home: () => 0, End: () => pieces.length - 1 }
  const blocks = Array.from({ length: Math.ceil(pieces.length / blockSize) }, (_, i) => i * blockSize)
  const reading = known && !writing
  return (
    <div
      class="text" ref={box} data-writing={writing} data-known={known} {...(reading ? { tabIndex: 0, role: 'group', 'aria-label': 'Answer: the arrow keys walk through its tokens' } : {})}
      onPointerOver={e => { if (known && e.pointerType === 'mouse') pointed(e.target) }} onPointerLeave={e => { if (e.pointerType === 'mouse') hideToken() }} onClick={e => { if (known) pointed(e.target) }}
      onBlur={() => { walked.current = -1; hideToken() }}
      onKeyDown={e => {
        const step = steps[e.key]
        if (!reading || step === undefined) return
        e.preventDefault()
        show(step(walked.current))
      }}
    >
      {blocks.map(from => <Block key={from} from={from} pieces={pieces.slice(from, from + blockSize)} shaded={shade.value} />)}
      {writing && <span class="caret" aria-hidden="true" />}
    </div>
  )
}
