/** Pictures as files: an SVG that stands by itself, and what it looks like as a PNG. */

/** What a picture is made of by the page's style, which its file has to say itself. */
const properties = ['fill', 'fill-opacity', 'stroke', 'stroke-width', 'stroke-dasharray', 'stroke-opacity', 'stroke-linecap', 'stroke-linejoin', 'opacity', 'font-family', 'font-size', 'font-weight', 'text-anchor', 'dominant-baseline', 'visibility', 'display'] as const

const escaped = (text: string): string => text.replace(/[&<>"]/g, c => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c] ?? c)
export { escaped }

/** The SVG of the page as a file's text, its looks written into it. */
export function standalone(svg: SVGSVGElement): string {
  const copy = svg.cloneNode(true) as SVGSVGElement
  const [from, to] = [[svg, ...svg.querySelectorAll('*')], [copy, ...copy.querySelectorAll('*')]]
  from.forEach((element, i) => {
    const style = getComputedStyle(element)
    const target = to[i]
    for (const p of properties) {
      const value = style.getPropertyValue(p)
      if (value !== '') target?.setAttribute(p, value)
    }
    target?.removeAttribute('class')
    target?.removeAttribute('style')
  })
  const { width, height } = svg.getBoundingClientRect()
  if (!copy.hasAttribute('viewBox')) copy.setAttribute('viewBox', `0 0 ${width} ${height}`)
  copy.setAttribute('width', String(Math.round(width)))
  copy.setAttribute('height', String(Math.round(height)))
  const ground = document.createElementNS('http://www.w3.org/2000/svg', 'rect')
  for (const [name, value] of Object.entries({ width: '100%', height: '100%', fill: getComputedStyle(document.documentElement).backgroundColor })) ground.setAttribute(name, value)
  copy.prepend(ground)
  return new XMLSerializer().serializeToString(copy)
}

function download(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob)
  Object.assign(document.createElement('a'), { href: url, download: name }).click()
  setTimeout(() => { URL.revokeObjectURL(url) }, 1000)
}

export function saveSvg(text: string, name: string): void { download(new Blob([text], { type: 'image/svg+xml' }), `${name}.svg`) }

/** @throws Error where the browser cannot draw it */
export async function savePng(text: string, name: string): Promise<void> {
  const url = URL.createObjectURL(new Blob([text], { type: 'image/svg+xml' }))
  try {
    const image = new Image()
    image.src = url
    await image.decode()
    const canvas = document.createElement('canvas')
    // Twice as fine as it is shown.
    const scale = Math.max(2, devicePixelRatio)
    canvas.width = image.width * scale
    canvas.height = image.height * scale
    canvas.getContext('2d')?.drawImage(image, 0, 0, canvas.width, canvas.height)
    const blob = await new Promise<Blob | null>(resolve => { canvas.toBlob(resolve, 'image/png') })
    if (blob === null) throw new Error('the picture cannot be drawn')
    download(blob, `${name}.png`)
  } finally {
    URL.revokeObjectURL(url)
  }
}
