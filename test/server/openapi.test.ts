/** The document of what can be asked. */
import { expect, test } from 'vitest'
import { routes } from '../../src/server/index.ts'
import { served } from './support.ts'

test('has every route, with what is sent and answered', async () => {
  const open = await served()
  const document = await (await open.ask('/openapi.json')).json() as { readonly openapi: string; readonly paths: { readonly [path: string]: { readonly [method: string]: { readonly requestBody?: { readonly content: { readonly 'application/json': { readonly schema: { readonly properties: object; readonly required?: readonly string[] } } } }; readonly responses: object; readonly operationId: string } } }; readonly components: { readonly schemas: object } }
  expect(document.openapi).toBe('3.1.0')
  const all = Object.entries(document.paths).flatMap(([path, methods]) => Object.keys(methods).map(method => `${method} ${path}`))
  expect(all.sort()).toEqual(routes.map(r => `${r.method} ${r.path.replace(/:(\w+)(\{.*\})?/, '{$1}')}`).sort())
  const operations = Object.values(document.paths).flatMap(m => Object.values(m))
  expect(new Set(operations.map(o => o.operationId)).size).toBe(operations.length)
  const chat = document.paths['/v1/chat/completions']?.['post']?.requestBody?.content['application/json'].schema
  expect(chat?.required).toEqual(['model', 'messages'])
  expect(Object.keys(chat?.properties ?? {})).toEqual(expect.arrayContaining(['tools', 'temperature', 'response_format', 'logprobs']))
  // What is referred to is there.
  for (const [, name] of JSON.stringify(document).matchAll(/#\/components\/schemas\/(\w+)/g)) expect(Object.keys(document.components.schemas)).toContain(name)
  await open.server.close()
})
