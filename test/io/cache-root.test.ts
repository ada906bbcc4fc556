/** Where the cache is: never in the folder one happens to stand in. */
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { FileError } from '../../src/core/errors.ts'
import { cacheRoot } from '../../src/io/cache-root.ts'

const account = (): string => '/accounts/me'
const none = (): string => { throw new Error('no such account') }

test.each<[NodeJS.ProcessEnv, string]>([
  [{ HOME: '/accounts/me' }, '/accounts/me/.cache/meshwork'],
  [{ HOME: '', XDG_CACHE_HOME: '', MESHWORK_CACHE_DIR: '' }, '/accounts/me/.cache/meshwork'],
  [{}, '/accounts/me/.cache/meshwork'],
  [{ HOME: '.' }, '/accounts/me/.cache/meshwork'],
  [{ HOME: 'home' }, '/accounts/me/.cache/meshwork'],
  [{ HOME: '/elsewhere', XDG_CACHE_HOME: 'cache' }, '/elsewhere/.cache/meshwork'],
  [{ HOME: '/elsewhere', XDG_CACHE_HOME: './cache' }, '/elsewhere/.cache/meshwork'],
  [{ HOME: '', XDG_CACHE_HOME: '/var/cache' }, '/var/cache/meshwork'],
  [{ XDG_CACHE_HOME: '/var/cache', MESHWORK_CACHE_DIR: '/scratch' }, '/scratch'],
  // Whoever gives this one means the folder that the command is started in.
  [{ MESHWORK_CACHE_DIR: 'mine' }, resolve('mine')],
])('%j', (env, wanted) => {
  expect(cacheRoot(undefined, env, account)).toBe(wanted)
})

test('what is given goes before the environment', () => {
  expect(cacheRoot('/given', { MESHWORK_CACHE_DIR: '/scratch' }, account)).toBe('/given')
  expect(cacheRoot('given', {}, none)).toBe(join(process.cwd(), 'given'))
  expect(cacheRoot('', { HOME: '/accounts/me' }, none)).toBe('/accounts/me/.cache/meshwork')
})

test.each([['no account', none], ['an account without a home', () => ''], ['an account whose home is no path', () => 'home']])('%s', (_, home) => {
  expect(() => cacheRoot(undefined, { HOME: '' }, home)).toThrow(FileError)
  expect(() => cacheRoot(undefined, { HOME: '', XDG_CACHE_HOME: 'x' }, home)).toThrow(/FileError\[no-home\] .*\n {2}HOME {2}is not set\n {2}fix {3}say where: MESHWORK_CACHE_DIR=/)
  expect(() => cacheRoot(undefined, { HOME: 'x' }, home)).toThrow(/is "x", no absolute path/)
})
