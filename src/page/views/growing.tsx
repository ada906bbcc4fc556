/** A field for text that is as high as what is in it. */
import type { VNode } from 'preact'
import { useLayoutEffect, useRef } from 'preact/hooks'

interface GrowingProps {
  readonly label: string
  readonly value: string
  readonly placeholder?: string
  readonly autofocus?: boolean
  readonly onInput: (value: string) => void
  /** Enter without Shift; a line breaks where it is not given. */
  readonly onEnter?: () => void
  readonly onEscape?: () => void
}

export function Growing({ label, value, placeholder, autofocus = false, onInput, onEnter, onEscape }: GrowingProps): VNode {
  const field = useRef<HTMLTextAreaElement>(null)
  useLayoutEffect(() => {
    const { current } = field
    if (current === null) return
    current.style.height = 'auto'
    current.style.height = `${current.scrollHeight + current.offsetHeight - current.clientHeight}px`
  }, [value])
  useLayoutEffect(() => {
    if (!autofocus) return
    field.current?.focus()
    field.current?.setSelectionRange(value.length, value.length)
  }, [])
  return (
    <textarea
      ref={field} rows={1} value={value} placeholder={placeholder} aria-label={label} onInput={e => { onInput(e.currentTarget.value) }}
      onKeyDown={e => {
        // What an input method composes is entered, not sent.
        if (e.key === 'Enter' && !e.shiftKey && !e.isComposing && onEnter !== undefined) {
          e.preventDefault()
          onEnter()
        } else if (e.key === 'Escape' && onEscape !== undefined) {
          e.stopPropagation()
          onEscape()
        }
      }}
    />
  )
}
