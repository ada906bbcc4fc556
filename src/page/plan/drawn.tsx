/** Pictures of plans on the page: the shapes that files have, as elements. */
import { h, type ComponentChild, type VNode } from 'preact'
import { style } from '../../draw/colours.ts'
import type { Picture, Shape } from '../../draw/svg.ts'

// The one style of all pictures, here as in files; the page's policy takes no style from within its HTML.
const sheet = new CSSStyleSheet()
sheet.replaceSync(style)
document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet]

const element = (s: Shape | string): ComponentChild => (typeof s === 'string' ? s : h(s.tag, s.attrs, ...s.children.map(element)))

export interface DrawnProps {
  readonly picture: Picture
  /** What a pointer is over, and what is pressed: the nearest shape with such an attribute. */
  readonly attribute?: string
  readonly onPoint?: (value: string | undefined, x: number) => void
  readonly onPress?: (value: string | undefined, x: number) => void
}

export function Drawn({ picture: { width, height, title, shapes }, attribute = 'data-id', onPoint, onPress }: DrawnProps): VNode {
  const told = (tell: DrawnProps['onPoint']) => (e: MouseEvent & { readonly currentTarget: SVGSVGElement }): void => {
    const box = e.currentTarget.getBoundingClientRect()
    const of = (e.target as Element).closest(`[${attribute}]`)?.getAttribute(attribute)
    tell?.(of ?? undefined, (e.clientX - box.left) * width / Math.max(1, box.width))
  }
  return (
    <svg class="drawn" viewBox={`0 0 ${Math.ceil(width)} ${Math.ceil(height)}`} width={Math.ceil(width)} height={Math.ceil(height)} role="img" aria-label={title}
      {...onPoint === undefined ? {} : { onPointerMove: told(onPoint), onPointerLeave: () => { onPoint(undefined, NaN) } }} {...onPress === undefined ? {} : { onClick: told(onPress) }}>
      {shapes.map(element)}
    </svg>
  )
}
