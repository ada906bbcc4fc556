/** A picture with its heading, the table behind it, and what it can be saved as. */
import type { ComponentChildren, VNode } from 'preact'
import { useRef, useState } from 'preact/hooks'
import { savePng, saveSvg, standalone } from './save.ts'

export interface FigureProps {
  /** Of files. */
  readonly name: string
  readonly title: string
  /** Beside the heading. */
  readonly about?: ComponentChildren
  /** What the picture shows, for those who do not see it; made when it is opened. */
  readonly table: VNode | (() => VNode)
  /** The picture as a file's text; unless given it is the first SVG within. */
  readonly svg?: () => string
  readonly children: ComponentChildren
}

export function Figure({ name, title, about, table, svg, children }: FigureProps): VNode {
  const box = useRef<HTMLElement>(null)
  const [open, setOpen] = useState(false)
  const [failed, setFailed] = useState('')
  const text = (): string => {
    if (svg !== undefined) return svg()
    const found = box.current?.querySelector<SVGSVGElement>('.picture svg')
    if (found === null || found === undefined) throw new Error('there is no picture yet')
    return standalone(found)
  }
  const saving = (save: () => void | Promise<void>) => async (): Promise<void> => {
    try {
      await save()
      setFailed('')
    } catch (e) { setFailed(e instanceof Error ? e.message : String(e)) }
  }
  return (
    <figure class="figure" ref={box} aria-label={title} data-figure={name}>
      <figcaption>
        <h3>{title}</h3>
        {about !== undefined && <span class="muted">{about}</span>}
        <span class="apart" />
        <button type="button" class="small" aria-label={`Save ${title} as SVG`} onClick={() => void saving(() => { saveSvg(text(), name) })()}>SVG</button>
        <button type="button" class="small" aria-label={`Save ${title} as PNG`} onClick={() => void saving(() => savePng(text(), name))()}>PNG</button>
      </figcaption>
      {failed !== '' && <p class="wrong" role="alert">{failed}</p>}
      <div class="picture">{children}</div>
      <details onToggle={e => { setOpen(e.currentTarget.open) }}>
        <summary>As a table</summary>
        {open && <div class="scrolled" tabIndex={0} role="region" aria-label={`${title}, as a table`}>{typeof table === 'function' ? table() : table}</div>}
      </details>
    </figure>
  )
}
