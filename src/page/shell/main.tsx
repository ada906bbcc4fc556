/** The page of `meshwork watch` and `meshwork train --page`. */
import { render } from 'preact'
import { App } from './app.tsx'
import { listen } from './live.ts'

void listen()
render(<App />, document.getElementById('page') as HTMLElement)
