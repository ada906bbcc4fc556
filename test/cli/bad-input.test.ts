/** What the user can get wrong: each is one message with its fix, the right exit code, and nothing half-written. */
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { claimFolder, type Claim } from '../../src/io/claim.ts'
import type * as FindLayout from '../../src/train/find-layout.ts'
import { all } from '../support/depth.ts'
import { reached, tried, type Outcome } from './accepts.ts'
import { proposals, type Placeholders } from './proposals.ts'
import { openServer, pretendPip, run, small, temporaryPlace, text, type Ended, type Server } from './support.ts'

// What is proposed is run up to here.
vi.mock('../../src/engine/open.ts', () => ({ openBackend: () => Promise.reject(reached) }))
// A search that tells of its first progress has taken what it was told.
vi.mock('../../src/train/find-layout.ts', async original => {
  const real = await original<typeof FindLayout>()
  return { ...real, findLayout: (...[run, options]: Parameters<typeof real.findLayout>) => real.findLayout(run, { ...options, onProgress: () => { throw reached } }) }
})
vi.mock('../../src/dashboard/server.ts', () => ({ openDashboard: () => Promise.reject(reached) }))
// Two at a time: the machine may have no more cores.
vi.setConfig({ maxConcurrency: 2 })

interface Case {
  readonly name: string
  /** `$F` is the folder of files made below. */
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly exit: 1 | 2
  /** The error's code and what its message holds. */
  readonly says: readonly [code: string, ...parts: (string | RegExp)[]]
  /** What was printed by then; nothing unless said. */
  readonly out?: string
}

const trainOn = (file: string, ...args: readonly string[]): string[] => ['train', 'gpt-tiny', '--plugin', 'simulate', ...small, '--data', `$F/${file}`, '--steps', '2', ...args]
const train = (...args: readonly string[]): string[] => trainOn('text.txt', ...args)
const recipe = (file: string): string[] => ['train', `$F/recipes/${file}`, '--plugin', 'simulate']
const generate = (...args: readonly string[]): string[] => ['generate', '--plugin', 'simulate', '--tokens', '2', ...args]
const measure = (...args: readonly string[]): string[] => ['eval', ...args, '--plugin', 'simulate']
const onCpu = ['train', 'gpt-tiny', '--data', '$F/text.txt']
const noPlugin = { PATH: '$F/pips/none', MESHWORK_CACHE_DIR: '$F/caches/none' }

const cases: readonly Case[] = [
  // Machines that a plan is made for.
  { name: 'a search with the size of an axis', args: ['plan', 'gpt-tiny', ...small, '--auto', '--model', '2'], exit: 2, says: ['flag', '--model says how large an axis is, and a search is to find it', 'leave this flag out'] },
  { name: 'devices where nothing is searched', args: ['plan', 'gpt-tiny', ...small, '--devices', '4'], exit: 2, says: ['flag', 'nothing is searched', '--mesh auto --layout auto'] },
  { name: 'fixed rules that contradict each other', args: ['plan', 'gpt-tiny', ...small, '--auto', '--devices', '4', '--machine', '8xh100', '--layout', 'auto,heads=model,embed=model'], exit: 2, says: ['pins', 'no layout can keep these rules: two dims of', 'heads → model, embed → model', 'leave one of the rules to the search'] },
  { name: 'a fixed rule for a dim that the model lacks', args: ['plan', 'gpt-tiny', ...small, '--auto', '--devices', '4', '--machine', '8xh100', '--layout', 'auto,head=model'], exit: 2, says: ['unknown-dim', 'names dim "head"', 'heads'] },
  { name: 'more fixed axes than the devices have a mesh for', args: ['plan', 'gpt-tiny', ...small, '--auto', '--devices', '2', '--machine', '8xh100', '--layout', 'auto,heads=rows,hidden=columns'], exit: 2, says: ['pins', 'the fixed rules name 2 axes, rows, columns, and 2 devices have no mesh of so many', 'fix fewer rules, or give more devices'] },
  { name: 'a fixed rule that no size of an axis can keep', args: ['plan', 'gpt-tiny', ...small, '--auto', '--devices', '9', '--machine', '8xh100', '--layout', 'auto,heads=model'], exit: 2, says: ['pins', 'no layout can keep these rules: dim "heads"', 'cannot be cut into 3 equal parts', 'heads → model'] },
  { name: 'a model that fits on nothing', args: ['plan', 'gpt-tiny', ...small, 'model.embed=262144', 'model.hidden=262144', 'batch=1', '--auto', '--devices', '2', '--machine', '8xh100'], exit: 2, says: ['does-not-fit', /fits on 2 devices of 8xh100 in no layout: parameters, slots and batch alone take .* [GT]B of each, .* [GT]B more than the 7\d\.\d GB there are/, 'at rest', /fix +use \d+ devices, on which it fits/] },
  { name: 'devices and hosts that are not as many', args: ['plan', 'gpt-tiny', ...small, '--auto', '--machine', '8xh100', '--hosts', '2', '--devices', '7'], exit: 2, says: ['flag', '--devices 7: --hosts 2 is 16 devices of 8xh100', 'leave one of them out'] },
  { name: 'a fixed rule that is said twice', args: ['plan', 'gpt-tiny', ...small, '--auto', '--devices', '4', '--machine', '8xh100', '--layout', 'auto,heads=model,heads=model'], exit: 2, says: ['flag', '--layout: "heads=model" is said twice', 'leave one of them out'] },
  { name: 'a search that is asked for twice', args: ['plan', 'gpt-tiny', ...small, '--devices', '4', '--machine', '8xh100', '--layout', 'auto,auto'], exit: 2, says: ['flag', '--layout: "auto" is said twice', 'leave one of them out'] },
  { name: 'a search with an empty rule', args: ['plan', 'gpt-tiny', ...small, '--devices', '4', '--machine', '8xh100', '--mesh', 'auto', '--layout', 'auto,'], exit: 2, says: ['flag', '--layout: "" is not DIM=AXIS', '--layout auto,batch=data'] },
  { name: 'a mesh that is half searched', args: ['plan', 'gpt-tiny', ...small, '--devices', '4', '--machine', '8xh100', '--mesh', 'auto,data=2'], exit: 2, says: ['flag', '--mesh auto,data=2: "auto" finds all axes and their sizes', 'give --mesh auto, or the whole mesh'] },
  { name: 'parameters whose rest is searched alone', args: ['plan', 'gpt-tiny', ...small, '--devices', '4', '--machine', '8xh100', '--params', 'auto'], exit: 2, says: ['flag', '--params: "auto" is said of the whole layout', 'leave it out'] },
  { name: 'fewer bits where nothing is searched', args: ['plan', 'gpt-tiny', ...small, '--wire', 'bf16'], exit: 2, says: ['flag', '--wire says in what a search may let numbers cross axes, and nothing is searched', '--mesh auto --layout auto'] },
  { name: 'bits that a search knows nothing of', args: ['plan', 'gpt-tiny', ...small, '--auto', '--wire', 'f16'], exit: 2, says: ['flag', '--wire: there is no "f16"', 'bf16, int8'] },
  { name: 'a rule that is set beside a search', args: ['plan', 'gpt-tiny', ...small, '--auto', '--devices', '2', '--set', 'layouts.residual.seq=model'], exit: 2, says: ['flag', '--set layouts.residual.seq=model: a search is to find how the run is laid', 'leave it out'] },
  { name: 'a search and a sweep', args: ['plan', 'gpt-tiny', ...small, '--auto', '--machine', '8xh100', '--sweep', 'batch=8,16'], exit: 2, says: ['flag', '--sweep plans one layout after another', 'search first'] },
  { name: 'a machine where nothing is searched', args: ['train', 'gpt-tiny', ...small, '--machine', '8xh100'], exit: 2, says: ['flag', '--machine says what a run is laid for, and nothing is searched', '--mesh auto --layout auto'] },
  { name: 'more devices than the given mesh has', args: ['plan', 'gpt-tiny', ...small, '--mesh', 'data=2', '--layout', 'auto', '--devices', '4', '--machine', '8xh100'], exit: 2, says: ['flag', 'the mesh has 2', '--mesh auto'] },
  { name: 'plan on a machine that nobody knows', args: ['plan', 'gpt-tiny', ...small, '--machine', '8xh10'], exit: 2, says: ['unknown-machine', 'no machine "8xh10"', 'did you mean "8xh100"?'] },
  { name: 'plan on a machine file that is not there', args: ['plan', 'gpt-tiny', ...small, '--machine', '$F/nowhere.json'], exit: 1, says: ['machine-file', 'cannot read the machine file', 'ENOENT'] },
  { name: 'plan on a machine file that is no JSON', args: ['plan', 'gpt-tiny', ...small, '--machine', '$F/text.txt.json'], exit: 2, says: ['machine-json', 'is not JSON', 'calibrate --json'] },
  { name: 'plan on a machine file that lacks a figure', args: ['plan', 'gpt-tiny', ...small, '--machine', '$F/lacking.json'], exit: 2, says: ['field', 'memory.bytes is missing', 'a number, above 0'] },
  { name: 'plan on a machine file in the units of a data sheet', args: ['plan', 'gpt-tiny', ...small, '--machine', '$F/gigabytes.json'], exit: 2, says: ['field', 'memory.bytes is 80', 'give bytes: 80 GB are 80e9'] },
  { name: 'plan on a machine that has not been measured', args: ['plan', 'gpt-tiny', ...small, '--machine', 'here'], env: { MESHWORK_CACHE_DIR: '$F/caches/unmeasured' }, exit: 2, says: ['not-calibrated', '--machine here', 'npx meshwork calibrate'] },
  { name: 'plan on hosts of no machine', args: ['plan', 'gpt-tiny', ...small, 'batch=64', '--hosts', '4'], exit: 2, says: ['flag', '--hosts is given, and no machine', '--machine 8xh100 --hosts 4'] },
  { name: 'plan on hosts that the mesh does not fill', args: ['plan', 'gpt-tiny', ...small, 'batch=64', '--machine', '8xh100', '--hosts', '2', '--mesh', 'batch=2,model=2'], exit: 2, says: ['flag', '16 devices of 8xh100, and the mesh batch=2,model=2 has 4', '--mesh batch=8,model=2'] },
  { name: 'plan --sweep without values', args: ['plan', 'gpt-tiny', ...small, 'batch=64', '--machine', '8xh100', '--sweep', 'batch'], exit: 2, says: ['flag', '"batch" is not FIELD=A,B,…', '--sweep batch=64,128,256'] },
  { name: 'plan --sweep over a field that no run has', args: ['plan', 'gpt-tiny', ...small, '--machine', '8xh100', '--sweep', 'bach=4,8'], exit: 2, says: ['unknown-field', '--sweep: a run has no field "bach"', 'did you mean "batch"?'] },
  { name: 'plan --sweep over a value that cannot be', args: ['plan', 'gpt-tiny', ...small, '--machine', '8xh100', '--sweep', 'batch=4,x'], exit: 2, says: ['field', '--sweep batch=x: batch is "x"', 'at least 1'] },
  { name: 'plan --sweep where nothing can be laid', args: ['plan', 'gpt-tiny', ...small, '--batch', '2', '--machine', '8xh100', '--sweep', 'batch=3,5'], exit: 2, says: ['does-not-divide', 'dim "batch" of size 3 cannot be cut into 2 equal parts', /at +\S*models\/gpt\.ts:\d+:\d+/] },
  { name: 'plan --sweep over hosts beside --hosts', args: ['plan', 'gpt-tiny', ...small, '--machine', '8xh100', '--hosts', '1', '--sweep', 'hosts=1,2'], exit: 2, says: ['flag', '--hosts 1 and --sweep hosts speak of the same thing', 'leave one of both out'] },
  { name: 'plan --sweep over hosts that are no number', args: ['plan', 'gpt-tiny', ...small, '--machine', '8xh100', '--sweep', 'hosts=1,two'], exit: 2, says: ['flag', '--sweep hosts: "two" is not a whole number', '--sweep hosts=1,2,4'] },
  { name: 'a sweep and a comparison', args: ['plan', 'gpt-tiny', ...small, '--machine', '8xh100', '--sweep', 'batch=4,8', '--diff', '--mesh batch=4'], exit: 2, says: ['flag', '--diff is of one plan, and a sweep makes many', 'leave one of both out'] },
  { name: 'a comparison and the list of tensors', args: ['plan', 'gpt-tiny', ...small, '--diff', '--mesh batch=4', '--tensors'], exit: 2, says: ['flag', '--tensors is of one plan, and --diff compares two', 'leave one of both out'] },
  { name: 'a search and a comparison', args: ['plan', 'gpt-tiny', ...small, '--auto', '--machine', '8xh100', '--diff', '--mesh batch=4'], exit: 2, says: ['flag', '--diff is of one plan', 'search first'] },
  { name: 'a search and a price', args: ['plan', 'gpt-tiny', ...small, '--auto', '--machine', '8xh100', '--price', '2'], exit: 2, says: ['flag', '--price is of one plan', 'search first'] },
  { name: 'plan --price that is none', args: ['plan', 'gpt-tiny', ...small, '--machine', '8xh100', '--price', 'free'], exit: 2, says: ['flag', '"free" is no price', '--price 2.5'] },
  { name: 'plan --svg into a folder that is not there', args: ['plan', 'gpt-tiny', ...small, '--machine', '8xh100', '--json', '--svg', '$F/nowhere/step.svg'], exit: 1, says: ['write', '--svg: cannot write', 'ENOENT'] },
  { name: 'calibrate on no devices', args: ['calibrate', '--devices', '0'], exit: 2, says: ['flag', '--devices: "0"'] },
  // The mesh and the layout.
  { name: 'an unknown axis in --layout', args: train('--layout', 'batch=batsh'), exit: 2, says: ['unknown-axis', 'axis "batsh"', 'did you mean "batch"?'] },
  { name: 'a rule of the recipe for an axis that --mesh lacks', args: train('--mesh', 'model=2'), exit: 2, says: ['unknown-axis', 'dim "batch" on axis "batch"', '--mesh model=2,batch=1', '--layout heads=model,hidden=model,vocab=model'] },
  { name: 'a rule for parameters on an unknown axis', args: train('--set', 'params.embed=zero'), exit: 2, says: ['unknown-axis', 'layout of params', '--set params='] },
  { name: 'what numbers cannot cross an axis in', args: train('--set', 'wire.batch=int4'), exit: 2, says: ['field', 'wire.batch is "int4"', 'one of bf16, int8'] },
  { name: 'numbers that cross an unknown axis in fewer bits', args: train('--set', 'wire.zero=int8'), exit: 2, says: ['unknown-axis', 'wire says', '--set wire='] },
  { name: 'numbers that cross a misspelt axis in fewer bits', args: train('--set', 'wire.bathc=bf16'), exit: 2, says: ['unknown-axis', 'did you mean "batch"?'] },
  { name: 'a rule of a named layout on an unknown axis', args: train('--set', 'layouts.residual.seq=zero'), exit: 2, says: ['unknown-axis', 'layout of residual', '--set layouts.residual='] },
  { name: 'a layout that the model does not name', args: train('--set', 'layouts.residaul.seq=model'), exit: 2, says: ['unknown-layout', '"residaul"', 'did you mean "residual"?'] },
  { name: 'a layout that starts from none that there is', args: train('--set', 'layouts.residual.from=compte'), exit: 2, says: ['unknown-layout', 'starts from "compte"', 'did you mean "compute"?'] },
  { name: 'layouts that start from each other', args: train('--set', 'layouts.residual.from=params', '--set', 'params.from=residual'), exit: 2, says: ['layout-circle', 'params → residual → params'] },
  { name: 'a rule below a rule', args: train('--set', 'layouts.residual.seq.x=model'), exit: 2, says: ['unknown-field', 'layouts.NAME.DIM=AXIS'] },
  { name: 'a named layout that a tensor of the model cannot have', args: train('--set', 'layouts.residual.seq=model', '--set', 'layouts.residual.embed=model'), exit: 2, says: ['axis-used-twice', 'layout  residual', 'gpt.'] },
  { name: 'an unknown dim in --layout', args: train('--layout', 'headz=model'), exit: 2, says: ['unknown-dim', '"headz"', 'did you mean "heads"?'] },
  { name: 'a size that the axis does not divide', args: train('--model', '3'), exit: 2, says: ['does-not-divide', /dim "\w+" of size \d+ cannot be cut into 3/, 'src/models/gpt-params.ts'] },
  { name: 'a batch that the axis does not divide', args: train('--batch', '3'), exit: 2, says: ['does-not-divide', 'dim "batch" of size 4', 'multiple of 3'] },
  { name: 'one axis on two dims of a tensor', args: train('--layout', 'heads=model,embed=model'), exit: 2, says: ['axis-used-twice', 'query', 'heads → model', 'drop the rule'] },
  { name: 'one axis twice in a dim', args: train('--layout', 'heads=model,heads=model'), exit: 2, says: ['flag', '--layout: "heads=model" is said twice'] },
  { name: 'more devices than a process can hold', args: train('--batch', '100', '--model', '100'), exit: 2, says: ['too-many-devices', '10000 devices', '1024'] },
  { name: 'a model that the memory cannot hold', args: train('--set', 'model.embed=100000000'), exit: 2, says: ['too-large', /need \d+(\.\d+)? TB/, 'smaller model'] },
  { name: 'a --mesh without a size', args: train('--mesh', 'batch'), exit: 2, says: ['flag', '"batch" is not AXIS=N', '--mesh AXIS=N'] },
  { name: 'a --mesh whose size is no number', args: train('--mesh', 'batch=two'), exit: 2, says: ['flag', '"two" is not a whole number'] },
  { name: 'a --mesh with a size of 0', args: train('--mesh', 'batch=0'), exit: 2, says: ['flag', '"0" is not a whole number of at least 1'] },
  { name: 'a --mesh with a size of 0 beside one that is right', args: train('--mesh', 'batch=0,model=2'), exit: 2, says: ['flag', '"0" is not a whole number of at least 1', '--mesh batch=1,model=2'] },
  { name: 'a --mesh that is a number', args: train('--mesh', '2'), exit: 2, says: ['flag', '"2" is not AXIS=N', '--mesh batch=2,model=2'] },
  { name: 'a --mesh without an axis', args: train('--mesh', '=2'), exit: 2, says: ['flag', '"=2" is not AXIS=N', '--mesh batch=2,model=2'] },
  { name: 'a --mesh with a comma too many', args: train('--mesh', 'batch=2,'), exit: 2, says: ['flag', '"" is not AXIS=N', '--mesh batch=2,model=2'] },
  { name: 'an empty --mesh', args: train('--mesh', ''), exit: 2, says: ['flag', '"" is not AXIS=N'] },
  { name: 'a --mesh with a size that is no whole number', args: train('--mesh', 'batch=1.5'), exit: 2, says: ['flag', '"1.5" is not a whole number', '--mesh batch=1'] },
  { name: 'a --mesh by the name of what every object has', args: train('--mesh', '__proto__=2'), exit: 2, says: ['flag', '"__proto__" cannot be a name'] },
  { name: 'a rule of no other dims for an axis that --mesh lacks', args: train('--mesh', 'batch=2', '--layout', 'heads=model'), exit: 2, says: ['unknown-axis', '--mesh batch=2,model=1', '--set layout=\'{}\''] },
  { name: 'rules of two kinds for an axis that --mesh lacks', args: train('--set', 'params.embed=batch', '--mesh', 'model=2'), exit: 2, says: ['unknown-axis', '--mesh model=2,batch=1', '--layout heads=model,hidden=model,vocab=model --set params=\'{}\''] },
  { name: 'rules for two axes that --mesh lacks', args: train('--mesh', 'replica=2'), exit: 2, says: ['unknown-axis', '--mesh replica=2,batch=1,model=1', '--set layout=\'{}\''] },
  { name: 'a rule for slots on an unknown axis', args: train('--set', 'state.embed=zero'), exit: 2, says: ['unknown-axis', 'layout of state', '--set state=\'{}\''] },
  { name: 'a --layout that names dims that there are not', args: train('--layout', 'batch=batch,foo=model'), exit: 2, says: ['unknown-dim', '"foo"', 'there are: vocab'] },
  { name: 'a --mesh with an axis twice', args: train('--mesh', 'batch=2,batch=2'), exit: 2, says: ['flag', 'axis "batch" is given twice'] },
  { name: 'a picture that there is none of', args: ['plan', 'gpt-tiny', '--svg', 'x.svg', '--picture', 'msh'], exit: 2, says: ['flag', 'there is no picture "msh"', 'did you mean "mesh"'] },
  { name: 'a picture without a file', args: ['plan', 'gpt-tiny', '--picture', 'mesh'], exit: 2, says: ['flag', '--picture is of a picture', '--svg'] },
  { name: 'a picture of two plans', args: ['plan', 'gpt-tiny', '--svg', 'x.svg', '--diff', '--mesh batch=4'], exit: 2, says: ['flag', 'ask for two things'] },
  { name: 'a tensor on no mesh', args: ['plan', 'gpt-tiny', '--svg', 'x.svg', '--picture', 'memory', '--tensor', 'params.tokens'], exit: 2, says: ['flag', '--tensor is shown on the mesh'] },
  { name: 'a tensor that a step does not have', args: ['plan', 'gpt-tiny', '--svg', 'x.svg', '--tensor', 'params.token'], exit: 2, says: ['flag', 'has no tensor "params.token"', 'params.tokens'] },
  { name: 'a picture where no file can be', args: ['plan', 'gpt-tiny', '--svg', '$F/nowhere/x.svg'], exit: 1, says: ['write', 'cannot write', 'give a file in a folder'] },
  { name: 'an axis with an odd name', args: train('--mesh', 'a b=2'), exit: 2, says: ['field', '"a b" cannot be a name'] },
  { name: 'both --mesh and --batch', args: train('--mesh', 'batch=2,model=1', '--batch', '2'), exit: 2, says: ['flag', '--mesh and --batch', 'give one of them'] },
  { name: '--model where the mesh has no such axis', args: [...recipe('replica.ts'), '--model', '2'], exit: 2, says: ['flag', 'no axis "model"', '--mesh replica=2,model=2'] },
  { name: 'a --batch of 0', args: train('--batch', '0'), exit: 2, says: ['flag', '--batch: "0"'] },
  { name: 'a --layout without an axis', args: train('--layout', 'heads'), exit: 2, says: ['flag', '"heads" is not DIM=AXIS'] },

  // The text.
  { name: 'a missing data file', args: trainOn('texd.txt'), exit: 1, says: ['no-such-file', 'texd.txt', 'did you mean "text.txt"'] },
  { name: 'a folder as data', args: trainOn('recipes'), exit: 1, says: ['empty-folder', 'recipes', '.txt'] },
  { name: 'an empty file', args: trainOn('empty.txt'), exit: 1, says: ['empty-text', 'is empty'] },
  { name: 'a file of white space', args: trainOn('blank.txt'), exit: 1, says: ['empty-text', 'white space'] },
  { name: 'text that is not UTF-8', args: trainOn('latin1.txt'), exit: 1, says: ['not-utf8', 'byte 0xe9', 'latin1.txt:1', 'iconv'] },
  { name: 'text shorter than one batch', args: trainOn('tiny.txt'), exit: 1, says: ['text-too-short', 'batch of 4 × 16', 'smaller batch'] },

  { name: 'a device without text as data', args: ['train', 'gpt-tiny', '--plugin', 'simulate', ...small, '--data', '/dev/null'], exit: 1, says: ['empty-text', 'no text came from /dev/null', 'gives its text once'] },
  { name: '"-" as data', args: ['train', 'gpt-tiny', '--plugin', 'simulate', ...small, '--data', '-'], exit: 1, says: ['no-such-file', '--data /dev/stdin'] },

  // The page, and what runs are asked.
  { name: 'a page of a folder that there is not', args: ['watch', '$F/nowhere'], exit: 1, says: ['no-runs', 'there is no folder', 'nowhere'] },
  { name: 'a page of a file', args: ['watch', '$F/text.txt'], exit: 1, says: ['no-runs', 'is no folder that can be read'] },
  { name: 'a page that everybody could look at', args: ['watch', '$F', '--host', '0.0.0.0'], exit: 2, says: ['open-page', '0.0.0.0 can be reached from elsewhere', '--token'] },
  { name: 'a token that could be guessed', args: ['watch', '$F', '--token', 'abc'], exit: 2, says: ['flag', 'less than 8 characters', '--token'] },
  { name: 'a token of nothing', args: ['watch', '$F', '--token', ''], exit: 2, says: ['flag', '--token: it is empty'] },
  { name: 'a page at no port', args: ['watch', '$F', '--port', '99999'], exit: 2, says: ['flag', '--port: "99999" is not a whole number from 0 to 65535'] },
  { name: 'a page beside a run at no port', args: train('--page', '--page-port', 'x'), exit: 2, says: ['flag', '--page-port: "x" is not a whole number'] },
  { name: 'a page beside a run that everybody could look at', args: train('--page', '--host', '0.0.0.0'), exit: 2, says: ['open-page', '--token'] },
  { name: 'a stop of what is no run', args: ['stop', '$F/recipes'], exit: 1, says: ['no-run', 'holds no run', 'run.json'] },
  { name: 'a checkpoint of what is no run', args: ['checkpoint', 'save', '$F/nowhere'], exit: 1, says: ['no-run', 'holds no run'] },
  // Profiles.
  { name: 'a profile of no steps', args: ['profile', 'gpt-tiny', ...small, '--data', '$F/text.txt', '--steps', '0'], exit: 2, says: ['flag', '--steps: "0"', 'at least 1'] },
  { name: 'a profile with a word for rows', args: ['profile', 'gpt-tiny', ...small, '--data', '$F/text.txt', '--top', 'some'], exit: 2, says: ['flag', '--top: "some"'] },
  { name: 'a trace without a name', args: ['profile', 'gpt-tiny', ...small, '--data', '$F/text.txt', '--trace', ''], exit: 2, says: ['flag', '--trace: the file has no name', '--trace step.json'] },
  { name: 'a profile of a recipe that there is not', args: ['profile', 'gpt-tinny'], exit: 2, says: ['unknown-recipe', 'did you mean "gpt-tiny"?'] },
  { name: 'a profile on an axis that the mesh lacks', args: ['profile', 'gpt-tiny', ...small, '--data', '$F/text.txt', '--layout', 'batch=batsh'], exit: 2, says: ['unknown-axis', 'did you mean "batch"?'] },
  { name: 'a profile of a missing text', args: ['profile', 'gpt-tiny', ...small, '--data', '$F/texd.txt'], exit: 1, says: ['no-such-file', 'did you mean "text.txt"'] },

  // Recipes and fields.
  { name: 'an unknown recipe', args: ['train', 'gpt-tinny'], exit: 2, says: ['unknown-recipe', '"gpt-tinny"', 'did you mean "gpt-tiny"?'] },
  { name: 'a missing recipe file', args: recipe('nowhere.ts'), exit: 2, says: ['no-recipe-file', 'nowhere.ts'] },
  { name: 'a folder as a recipe file', args: recipe('folder.ts'), exit: 2, says: ['no-recipe-file', 'folder.ts'] },
  { name: 'a recipe without a run', args: recipe('none.ts'), exit: 2, says: ['no-run', 'exports no run', 'export default'] },
  { name: 'a recipe whose run is no object', args: recipe('three.ts'), exit: 2, says: ['no-run', /what \S+three.ts exports is no run/, 'defineRun'] },
  { name: 'a recipe whose run is an object of its own', args: recipe('object.ts'), exit: 2, says: ['no-run', 'object.ts exports is no run', 'defineRun'] },
  { name: 'a recipe with a syntax error', args: recipe('syntax.ts'), exit: 2, says: ['recipe-fails', 'Unexpected "="', 'syntax.ts:2:'] },
  { name: 'a recipe that throws', args: recipe('throws.ts'), exit: 2, says: ['recipe-fails', 'boom', 'throws.ts:1:'] },
  { name: 'a recipe that imports what is not there', args: recipe('imports.ts'), exit: 2, says: ['recipe-fails', 'nowhere-at-all'] },
  { name: 'a recipe with a field of a wrong type', args: recipe('wrong.ts'), exit: 2, says: ['field', 'wrong.ts: steps is "many"', 'a whole number, at least 1'] },
  { name: 'a recipe with a field missing', args: recipe('lacks.ts'), exit: 2, says: ['field', 'lacks.ts: gpt: heads is missing', 'a whole number, at least 1', 'lacks.ts:4:'] },
  { name: 'a recipe with an unknown field', args: recipe('unknown.ts'), exit: 2, says: ['unknown-field', '"stepz"', 'did you mean "steps"?'] },
  { name: 'an unknown field in --set', args: train('--set', 'model.layer=2'), exit: 2, says: ['unknown-field', '"model.layer"', 'did you mean "layers"?'] },
  { name: 'an unknown group of fields in --set', args: train('--set', 'modl.layers=2'), exit: 2, says: ['unknown-field', '"modl.layers"', 'did you mean "model"?'] },
  { name: 'a field of a number in --set', args: train('--set', 'model.layers.x=2'), exit: 2, says: ['unknown-field', '"model.layers.x"', '"layers" is a field with a value'] },
  { name: 'a field of every object in --set', args: train('--set', '__proto__.steps=2'), exit: 2, says: ['unknown-field', '__proto__'] },
  { name: 'a --set without a value', args: train('--set', 'steps'), exit: 2, says: ['flag', '"steps" is not KEY=VALUE'] },
  { name: 'text for a number in --set', args: train('--set', 'model.layers=two'), exit: 2, says: ['field', 'model.layers is "two"', 'a whole number, at least 1'] },
  { name: 'a number out of its range in --set', args: train('--set', 'optimizer.rate=-1'), exit: 2, says: ['field', 'optimizer.rate is -1', 'a number, above 0'] },
  { name: 'a word that is no choice in --set', args: train('--set', 'remat=some'), exit: 2, says: ['field', 'remat is "some"', 'all-but-contractions, everything, nothing'] },

  { name: 'contractions of a run in numbers that nobody has', args: train('--set', 'precision.contractions=fp4'), exit: 2, says: ['field', 'precision.contractions is "fp4"', 'compute, fp8'] },
  { name: 'slots in a place that there is not', args: train('--set', 'slots=disk'), exit: 2, says: ['field', 'slots is "disk"', 'device, host'] },
  { name: 'a field of a rate in --set', args: train('--set', 'optimizer.rate.x=2'), exit: 2, says: ['unknown-field', '--set optimizer.rate='] },
  { name: 'a list for an object in --set', args: train('--set', 'model=[1]'), exit: 2, says: ['field', 'model is [1]'] },
  { name: 'a setting without a name', args: train('--set', '=2'), exit: 2, says: ['flag', '"=2" is not KEY=VALUE'] },
  { name: 'a field by the name of what every object has', args: train('--set', 'constructor=2'), exit: 2, says: ['unknown-field', '"constructor"'] },

  // Fields of a run's parts.
  { name: 'an unknown field of checkpoints', args: train('--set', 'checkpoint.evry=5'), exit: 2, says: ['unknown-field', '"checkpoint.evry"', 'did you mean "every"?'] },
  { name: 'text for steps between checkpoints', args: train('--set', 'checkpoint.every=often'), exit: 2, says: ['field', 'checkpoint.every is "often"', 'a whole number, at least 0'] },
  { name: 'a number for which checkpoints stay', args: train('--set', 'checkpoint.keep=3'), exit: 2, says: ['field', 'checkpoint.keep is 3', 'an object with last, every, best'] },
  { name: 'no checkpoint that stays', args: train('--set', 'checkpoint.keep.last=0'), exit: 2, says: ['field', 'checkpoint.keep.last is 0', 'at least 1'] },
  { name: 'an unknown field of which checkpoints stay', args: train('--set', 'checkpoint.keep.lasst=2'), exit: 2, says: ['unknown-field', 'did you mean "last"?'] },
  { name: 'no time to end in', args: train('--set', 'checkpoint.deadline=0'), exit: 2, says: ['field', 'checkpoint.deadline is 0', 'a number, above 0'] },
  { name: 'a policy that there is not', args: train('--set', 'guard.policy=skp'), exit: 2, says: ['field', 'guard.policy is "skp"', 'stop, skip, rewind'] },
  { name: 'an unknown field of the guard', args: train('--set', 'guard.polcy=skip'), exit: 2, says: ['unknown-field', 'did you mean "policy"?'] },
  { name: 'text for a spike', args: train('--set', 'guard.spike=high'), exit: 2, says: ['field', 'guard.spike is "high"', 'a number, above 0, or null'] },
  { name: 'a spike below 0', args: train('--set', 'guard.spike=-1'), exit: 2, says: ['field', 'guard.spike is -1', 'a number, above 0, or null'] },
  { name: 'no bad step at all', args: train('--set', 'guard.limit=0'), exit: 2, says: ['field', 'guard.limit is 0', 'at least 1'] },
  { name: 'an evaluation every 0 steps', args: train('--set', 'evaluation.every=0'), exit: 2, says: ['field', 'evaluation.every is 0', 'at least 1'] },
  { name: 'an unknown field of evaluations', args: train('--set', 'evaluation.batch=2'), exit: 2, says: ['unknown-field', 'did you mean "batches"?'] },
  { name: 'microbatches that do not divide the batch', args: train('--set', 'microbatches=3'), exit: 2, says: ['field', 'microbatches is 3, which does not divide batch, 4'] },
  { name: 'all of the text held out', args: train('--set', 'data.heldOut=1'), exit: 2, says: ['field', 'data.heldOut is 1', 'at least 0 and below 1'] },
  { name: 'an unknown field of the data', args: train('--set', 'data.heldout=0.1'), exit: 2, says: ['unknown-field', 'did you mean "heldOut"?'] },
  { name: 'rows of a kind that there is not', args: train('--set', 'data.rows=packd'), exit: 2, says: ['field', 'data.rows is "packd"', 'packed, padded, windows'] },
  { name: 'a vocabulary without room for the bytes', args: train('--set', 'data.vocab=10'), exit: 2, says: ['field', 'data.vocab is 10', 'at least 258'] },
  { name: 'a vocabulary that the model has not', args: train('--set', 'data.tokenizer=$F/run/tokenizer.json', '--set', 'model.vocab=260'), exit: 2, says: ['vocab', 'a vocabulary of 260', 'at least 300'] },
  { name: 'a tokenizer that is not there', args: train('--set', 'data.tokenizer=$F/tok.json'), exit: 1, says: ['read', 'tok.json'] },
  { name: 'a format that there is not', args: train('--set', 'data.format=jsnl'), exit: 2, says: ['field', 'data.format is "jsnl"', 'text, jsonl, parquet, csv, tar'] },
  { name: 'a field of the data without a format', args: train('--set', 'data.field=body'), exit: 2, says: ['data', 'data.field is "body", and data.format is not given', 'data.format'] },
  { name: 'a format that the files do not have', args: train('--set', 'data.format=jsonl'), exit: 1, says: ['not-json', /text\.txt:1/] },
  { name: 'a file whose name tells no format', args: trainOn('notes.md'), exit: 1, says: ['no-format', 'notes.md', '--set data.format=text'] },
  { name: 'a file named twice', args: train('--data', '$F/text.txt', '$F/text.txt'), exit: 2, says: ['file-twice', 'text.txt', 'epochs'] },
  { name: 'a store that is none', args: train('--set', 'data.files=[]', 'data.stores=["$F/texts"]'), exit: 1, says: ['no-store', 'texts'] },
  { name: 'a temperature of 0', args: train('--set', 'data.temperature=0'), exit: 2, says: ['field', 'data.temperature is 0', 'a number, above 0'] },
  { name: 'a warm-up below 0', args: train('--set', 'optimizer.warmup=-1'), exit: 2, says: ['field', 'optimizer.warmup is -1', 'at least 0'] },
  { name: 'a floor above 1', args: train('--set', 'optimizer.floor=2'), exit: 2, says: ['field', 'optimizer.floor is 2', 'at most 1'] },
  { name: 'an unknown field of the optimizer', args: train('--set', 'optimizer.warmpu=2'), exit: 2, says: ['unknown-field', 'did you mean "warmup"?'] },
  { name: 'a field of a part that has none', args: [...recipe('own.ts'), '--set', 'data.files=x.txt'], exit: 2, says: ['unknown-field', 'the run\'s data has no fields', 'change the recipe'] },
  { name: 'files for data that is a function', args: [...recipe('own.ts'), '--data', '$F/text.txt'], exit: 2, says: ['flag', '--data', 'change the recipe'] },

  // What a run starts from.
  { name: 'a checkpoint that is not there', args: train('--resume', '$F/nowhere'), exit: 2, says: ['no-checkpoint', 'nowhere'] },
  { name: 'a checkpoint of no run', args: train('--resume', '$F/texts'), exit: 2, says: ['no-checkpoint', 'texts'] },
  { name: 'a checkpoint of another model', args: train('--resume', '$F/run', '--set', 'model.hidden=64'), exit: 1, says: ['tensors-differ', 'step-2', /c_fc\.weight is \[16, 32\], and \[16, 64\] is wanted/] },
  { name: 'a checkpoint that cannot be used', args: train('--resume', '$F/spoilt'), exit: 1, says: ['no-usable-checkpoint', 'step-2'] },
  { name: 'weights that are not there', args: train('--init-from', '$F/nowhere'), exit: 1, says: ['read', 'nowhere', 'check the path'] },
  { name: 'a folder without weights', args: train('--init-from', '$F/texts'), exit: 1, says: ['no-weights', 'model.safetensors'] },
  { name: 'weights of something else', args: train('--init-from', '$F/text.txt'), exit: 1, says: ['safetensors', 'text.txt'] },
  { name: 'weights of another model', args: train('--init-from', '$F/run', '--set', 'model.hidden=64'), exit: 1, says: ['tensors-differ', /c_fc\.weight is \[16, 32\], and \[16, 64\] is wanted/] },
  { name: 'no weight of the names that are asked for', args: train('--init-from', '$F/run', '--only', 'decoder.*'), exit: 1, says: ['nothing-to-load', 'blocks'] },
  { name: 'all weights left out', args: train('--init-from', '$F/run', '--except', '*'), exit: 1, says: ['nothing-to-load', 'no name of the model is chosen'] },
  { name: 'two things to start from', args: train('--resume', '$F/run', '--init-from', '$F/run'), exit: 2, says: ['flag', '--resume and --init-from'] },
  { name: 'a choice of what is not loaded', args: train('--only', 'blocks.*'), exit: 2, says: ['flag', '--only', 'add --init-from'] },
  { name: 'names to leave out of what is not loaded', args: train('--except', 'blocks.*'), exit: 2, says: ['flag', '--except', 'add --init-from'] },

  // Flags.
  { name: 'an unknown command', args: ['trian'], exit: 2, says: ['unknown-command', '"trian"', 'did you mean "train"?'] },
  { name: 'an unknown command of a group', args: ['plugins', 'instal', 'cpu'], exit: 2, says: ['unknown-command', 'did you mean "install"?'] },
  { name: 'an unknown flag', args: train('--stepz', '5'), exit: 2, says: ['unknown-option', '"--stepz"', 'did you mean "--steps"?'] },
  { name: 'a flag of another command', args: ['doctor', '--steps', '5'], exit: 2, says: ['unknown-option', '"--steps"', '--plugin'] },
  { name: 'a flag without its value', args: ['train', '--steps'], exit: 2, says: ['option-missing-argument', '--steps', 'meshwork train --help'] },
  { name: 'one argument too many', args: ['train', 'gpt-tiny', 'gpt-tiny'], exit: 2, says: ['excess-arguments', 'meshwork train --help'] },
  { name: 'an argument too few', args: ['generate'], exit: 2, says: ['missing-argument', 'run', 'meshwork generate --help'] },
  { name: '--steps that are no number', args: train('--steps', 'abc'), exit: 2, says: ['flag', '--steps: "abc"'] },
  { name: '--steps 0', args: train('--steps', '0'), exit: 2, says: ['flag', 'at least 1'] },
  { name: '--steps -1', args: train('--steps', '-1'), exit: 2, says: ['flag', '--steps: "-1"'] },
  { name: '--steps beyond what a device counts', args: train('--steps', '3000000000'), exit: 2, says: ['field', 'steps is 3000000000', 'at most 2147483647'] },
  { name: '--seed that is no number', args: train('--seed', 'x'), exit: 2, says: ['flag', '--seed: "x"'] },

  { name: '--backend that is none', args: train('--backend', 'locla'), exit: 2, says: ['flag', '"locla"', 'did you mean "local"?'] },

  // The run folder.
  { name: 'an --out that holds a run', args: train('--out', '$F/run'), exit: 1, says: ['run-exists', 'finished, after 2 steps', '--out'] },
  { name: 'an --out that holds another run', args: train('--out', '$F/stopped', '--set', 'model.layers=2'), exit: 1, says: ['run-differs', 'it differs in model.layers', /there +1/, /here +2/, '--out'] },
  { name: 'an --out that holds a run with another seed', args: train('--out', '$F/stopped', '--seed', '5'), exit: 1, says: ['run-differs', 'it differs in seed', '--init-from'] },
  { name: 'an --out that holds a run of other text', args: train('--out', '$F/stopped', '--set', 'data.heldOut=0.3'), exit: 1, says: ['run-differs', 'it differs in data.rows'] },
  { name: 'an --out that holds a run that goes on elsewhere', args: train('--out', '$F/claimed'), exit: 1, says: ['folder-taken', `process ${process.pid} on ${hostname()}`] },
  { name: 'an --out with a run.json that is none', args: train('--out', '$F/brokenRun'), exit: 1, says: ['run-file', 'is not JSON'] },
  { name: 'an --out with a run.json of something else', args: train('--out', '$F/emptyRun'), exit: 1, says: ['run-file', 'is not what a run writes'] },
  { name: 'an --out whose checkpoints cannot be used', args: train('--out', '$F/spoilt'), exit: 1, says: ['no-usable-checkpoint', 'none can be used', 'step-2', 'move them away'] },
  { name: 'an --out that holds what a run would overwrite', args: train('--out', '$F/configured'), exit: 1, says: ['run-exists', 'config.json'] },
  { name: 'an --out that is a file', args: train('--out', '$F/text.txt'), exit: 1, says: ['out-folder', 'it is a file', '--out'] },
  { name: 'an --out below a file', args: train('--out', '$F/text.txt/run'), exit: 1, says: ['out-folder', 'a part of the path is a file'] },
  { name: 'an --out where nothing can be made', args: train('--out', '/proc/meshwork/run'), exit: 1, says: ['out-folder', '/proc/meshwork'] },
  { name: 'an --out without a name', args: train('--out', ''), exit: 2, says: ['flag', '--out'] },

  // Plugins.
  { name: 'an unknown plugin', args: [...onCpu, '--plugin', 'cpuu'], exit: 2, says: ['unknown-plugin', '"cpuu"', 'did you mean "cpu"?'] },
  { name: 'a plugin path that does not exist', args: [...onCpu, '--plugin', '$F/nowhere.so'], exit: 1, says: ['no-such-plugin', 'nowhere.so', '--plugin simulate'] },
  { name: 'a plugin path that is no library', args: [...onCpu, '--plugin', '$F/text.txt'], exit: 1, says: ['no-such-plugin|not-a-library', 'text.txt', '--plugin simulate'] },
  { name: 'a PJRT_PLUGIN_LIBRARY_PATH that does not exist', args: onCpu, env: { PJRT_PLUGIN_LIBRARY_PATH: '$F/nowhere.so' }, exit: 1, says: ['no-such-plugin', 'PJRT_PLUGIN_LIBRARY_PATH'] },
  { name: 'no pip', args: onCpu, env: noPlugin, exit: 1, says: ['no-pip', 'apt install', '--plugin simulate'] },
  { name: 'no network', args: onCpu, env: { PATH: '$F/pips/offline:/usr/bin:/bin', MESHWORK_CACHE_DIR: '$F/caches/offline' }, exit: 1, says: ['network', 'name resolution', '--plugin simulate'] },
  { name: 'a plugin whose checksum is wrong', args: ['plugins', 'install', 'cpu'], env: { PATH: '$F/pips/wrong:/usr/bin:/bin', MESHWORK_CACHE_DIR: '$F/caches/wrong' }, exit: 1, says: ['checksum', /expected +[0-9a-f]{64}/, '--plugin simulate'] },
  { name: 'a cache that cannot be written', args: onCpu, env: { MESHWORK_CACHE_DIR: '$F/text.txt' }, exit: 1, says: ['cache-not-writable', 'MESHWORK_CACHE_DIR', '--plugin simulate'] },
  { name: 'an unknown model', args: ['models', 'fetch', 'smollm'], exit: 2, says: ['unknown-model', 'smollm2'] },
  { name: 'the path of an unknown plugin', args: ['plugins', 'path', 'gpu'], exit: 2, says: ['unknown-plugin', '"gpu"'] },
  { name: 'the path of a plugin that is not installed', args: ['plugins', 'path', 'cpu'], env: noPlugin, exit: 1, says: ['not-installed', 'plugins install cpu'] },
  { name: 'a plugin that no system like this has', args: ['plugins', 'install', 'metal'], exit: 1, says: ['unsupported-platform', 'macOS on Apple silicon', '--plugin simulate'] },
  { name: 'installing what is a choice', args: ['plugins', 'install', 'auto'], exit: 2, says: ['unknown-plugin', 'plugins list'] },
  { name: 'libraries from nowhere', args: ['plugins', 'install', 'cuda', '--libraries', 'wheel'], exit: 2, says: ['flag', '--libraries: there is no "wheel"', 'did you mean "wheels"?'] },
  { name: 'a device that is not here', args: ['train', 'gpt-tiny', '--plugin', 'tpu'], env: noPlugin, exit: 1, says: ['no-device', 'no TPU chip was found', '--plugin cpu'] },
  { name: 'a plugin for another system', args: ['train', 'gpt-tiny', '--plugin', '$F/metal.dylib'], exit: 1, says: ['other-system', 'a library for macOS'] },
  { name: 'installing what is built in', args: ['plugins', 'install', 'simulate'], exit: 2, says: ['unknown-plugin', 'built in'] },

  // What a platform is told.
  { name: 'a platform option that there is not', args: train('--platform', 'memory.fracton=0.5'), exit: 2, says: ['flag', '--platform: there is no "memory.fracton"', 'did you mean "memory.fraction"?'] },
  { name: 'a platform option without a value', args: train('--platform', 'deterministic'), exit: 2, says: ['flag', '"deterministic" is not KEY=VALUE', '--platform memory.fraction=0.8'] },
  { name: 'a share of memory that is none', args: train('--platform', 'memory.fraction=2'), exit: 2, says: ['platform-option', 'memory.fraction is 2', 'above 0, at most 1'] },
  { name: 'a card by its name', args: train('--platform', 'visibleDevices=first'), exit: 2, says: ['platform-option', 'visibleDevices', 'such as 0,1'] },
  { name: '8 bits said to the platform', args: train('--platform', 'contractions=fp8'), exit: 2, says: ['platform-option', 'contractions is "fp8"', 'one of f32, tf32, bf16', 'precision.contractions=fp8'] },
  { name: 'contractions in numbers that nobody has', args: train('--platform', 'contractions=f16'), exit: 2, says: ['platform-option', 'contractions is "f16"', 'one of f32, tf32, bf16'] },
  { name: 'an option for an interpreter', args: generate('$F/run', '--platform', 'deterministic=true'), exit: 2, says: ['platform-option', 'simulate is no platform', 'or use a plugin'] },

  // Generating.
  { name: 'a folder that is not there', args: generate('$F/nowhere'), exit: 1, says: ['no-model', 'nowhere holds no model'] },
  { name: 'a folder with no run', args: generate('$F/recipes'), exit: 1, says: ['no-model', 'config.json'] },
  { name: 'half a run', args: generate('$F/half'), exit: 1, says: ['no-usable-checkpoint', 'step-2', 'model.safetensors'] },
  { name: 'a run.json that is none', args: generate('$F/brokenRun'), exit: 1, says: ['run-file', 'is not JSON'] },
  { name: 'weights that are cut off', args: generate('$F/cutWeights'), exit: 1, says: ['safetensors', 'model.safetensors'] },
  { name: 'weights that are something else', args: generate('$F/noWeights'), exit: 1, says: ['safetensors', 'model.safetensors'] },
  { name: 'weights that are NaN', args: generate('$F/nanWeights', '--prompt', 'the'), exit: 1, says: ['not-finite', 'NaN or infinity for the next token', /weights +not finite: \S+ \d+ of \d+/, 'lower optimizer.rate'], out: 'the' },
  { name: 'a tokenizer that asks for what is not done', args: generate('$F/oddTokenizer'), exit: 1, says: ['tokenizer-format', 'normalizer'] },
  { name: 'a tokenizer that is none', args: generate('$F/brokenTokenizer'), exit: 1, says: ['tokenizer-format', 'tokenizer.json'] },
  { name: 'a config that does not fit', args: generate('$F/otherConfig'), exit: 1, says: ['tensors-differ', /wte\.weight is \[300, 16\], and \[300, 32\] is wanted/] },
  { name: 'a config with a size that is none', args: generate('$F/badConfig'), exit: 2, says: ['model-config', 'config.json: n_embd is -16'] },
  { name: 'a mesh that does not divide the model', args: generate('$F/run', '--model', '3'), exit: 2, says: ['does-not-divide', 'into 3'] },
  { name: '--tokens 0', args: generate('$F/run', '--tokens', '0'), exit: 2, says: ['flag', '--tokens: "0"'] },
  { name: 'an empty prompt', args: generate('$F/run', '--prompt', ''), exit: 2, says: ['flag', 'the prompt is empty'] },
  { name: '--temperature hot', args: generate('$F/run', '--temperature', 'hot'), exit: 2, says: ['flag', '--temperature: "hot"'] },
  { name: 'weights of bits that there are not', args: generate('$F/run', '--weights', 'int3'), exit: 2, says: ['flag', '--weights: "int3"', 'int8, int4'] },
  { name: 'a temperature below 0', args: generate('$F/run', '--temperature=-1'), exit: 2, says: ['flag', '--temperature: "-1"'] },

  // Measuring.
  { name: 'a run to measure that is not there', args: measure('$F/nowhere'), exit: 1, says: ['no-run', 'nowhere', 'run.json'] },
  { name: 'a run to measure whose run.json is none', args: measure('$F/brokenRun'), exit: 1, says: ['run-file', 'is not JSON'] },
  { name: 'a run to measure that a program made', args: measure('$F/programRun'), exit: 2, says: ['no-recipe', 'names no recipe', '--recipe'] },
  { name: 'a run to measure whose recipe is gone', args: measure('$F/goneRun'), exit: 2, says: ['no-recipe', 'gone.ts', '--recipe'] },
  { name: 'a recipe that the run was not made with', args: measure('$F/run', '--recipe', '$F/recipes/own.ts'), exit: 2, says: ['recipe-differs', 'own.ts', 'model'] },
  { name: 'a recipe to measure with that is not there', args: measure('$F/run', '--recipe', 'nowhere.ts'), exit: 2, says: ['no-recipe-file', 'nowhere.ts'] },
  { name: 'files to measure on that are not there', args: measure('$F/run', '--data', '$F/texd.txt'), exit: 1, says: ['no-such-file', 'did you mean "text.txt"'] },
  { name: 'an empty file to measure on', args: measure('$F/run', '--data', '$F/empty.txt'), exit: 1, says: ['empty-text', 'is empty'] },
  { name: 'a file to measure on without a row', args: measure('$F/run', '--data', '$F/word.txt'), exit: 1, says: ['text-too-short', 'word.txt has not one row of 16 tokens'] },
  { name: 'a run to measure that has lost its weights', args: measure('$F/bare'), exit: 1, says: ['no-weights', 'bare holds no weights'] },
  { name: 'a run to measure on files that has lost its tokenizer', args: measure('$F/bare', '--data', '$F/text.txt'), exit: 1, says: ['no-weights|read', 'bare'] },
  { name: 'a run to measure whose weights are cut off', args: measure('$F/cutWeights', '--json'), exit: 1, says: ['safetensors', 'model.safetensors'] },
  { name: 'a mesh that does not divide the model to measure', args: measure('$F/run', '--model', '3'), exit: 2, says: ['does-not-divide', 'into 3'] },

  // The documents of a step.
  { name: 'a run of which no step is named', args: ['data', 'show', '$F/run'], exit: 2, says: ['flag', 'is a run', '--step 1'] },
  { name: 'step 0 of a run', args: ['data', 'show', '$F/run', '--step', '0'], exit: 2, says: ['flag', '--step: "0"', 'at least 1'] },
  { name: 'a step that the run has not', args: ['data', 'show', '$F/run', '--step', '3'], exit: 2, says: ['flag', '--step: "3"', 'from 1 to 2'] },
  { name: 'a document of a run', args: ['data', 'show', '$F/run', '--doc', '1'], exit: 2, says: ['flag', '--doc', 'is a run, and no store'] },
  { name: 'a step of what is no run', args: ['data', 'show', '$F/texts', '--step', '1'], exit: 2, says: ['flag', 'texts', 'run.json'] },
  { name: 'a step of a run whose data has changed', args: ['data', 'show', '$F/otherRows', '--step', '1'], exit: 1, says: ['data-differs', 'it differs in rows', 'bring back'] },
  { name: 'a step of a run whose recipe is gone', args: ['data', 'show', '$F/goneRun', '--step', '1'], exit: 2, says: ['no-recipe', 'gone.ts', '--recipe'] },
  { name: 'a step of a run whose text is gone', args: ['data', 'show', '$F/lostText', '--step', '1'], exit: 1, says: ['no-such-file', 'texd.txt'] },
]

const place = temporaryPlace()
afterAll(() => { place.remove() })
const filled = (value: string): string => value.replaceAll('$F', place.path)
let server: Server
beforeAll(() => { server = openServer() })
const start = (args: readonly string[], name: string, env: Readonly<Record<string, string>> = {}, as: Server['run'] = run): Promise<Ended> => as(args.map(filled), {
  cwd: place.folder(`cwd/${name.replace(/\W+/g, '-')}`),
  env: { MESHWORK_CACHE_DIR: join(place.path, 'caches/shared'), ...Object.fromEntries(Object.entries(env).map(([key, value]) => [key, filled(value)])) },
})

const model = 'vocab: 300, seq: 16, layers: 1, embed: 16, headDim: 8, hidden: 32'
/** A recipe with some of its fields, as source. */
const defined = (fields: { readonly [field: string]: string }): string => `import { textData } from 'meshwork/data'
import { gptModel } from 'meshwork/models'
import { adamwCosine, defineRun } from 'meshwork/train'
export default defineRun({ ${Object.entries({ name: '\'x\'', model: `gptModel({ ${model}, heads: 2 })`, data: 'textData({})', optimizer: 'adamwCosine({ rate: 1e-3 })', batch: '4', steps: '2', ...fields }).map(([field, value]) => `${field}: ${value}`).join(', ')} })
`
const recipes: { readonly [file: string]: string } = {
  'none.ts': 'export const run = 3\n',
  'three.ts': 'export default 3\n',
  'syntax.ts': 'export default {\n  steps: = 3,\n}\n',
  'throws.ts': 'throw new Error(\'boom\')\n',
  'imports.ts': 'import x from \'nowhere-at-all\'\nexport default x\n',
  'object.ts': 'export default { name: \'x\', steps: 3 }\n',
  'wrong.ts': defined({ steps: '\'many\'' }),
  'lacks.ts': defined({ model: `gptModel({ ${model} })` }),
  'unknown.ts': defined({ stepz: '2' }),
  'own.ts': `import { hiddenModel } from './model.ts'
import { adamwCosine, defineRun } from 'meshwork/train'
export default defineRun({ name: 'own', model: hiddenModel, data: { batch: () => ({ x: new Float32Array(8) }) }, steps: 2, optimizer: adamwCosine({ rate: 1e-3 }), layout: {} })
`,
  'model.ts': `import { dims, input, param } from 'meshwork'
const d = dims({ batch: 4, x: 2 })
export const hiddenModel = { dims: d, itemsPerBatch: 4, params: { w: param('w', [d.x]) }, batch: { x: input('x', [d.batch, d.x]) }, loss: (p: any, b: any) => ({ loss: b.x.mul(p.w).square().mean() }) }
`,
  'replica.ts': defined({ mesh: '{ replica: 2 }', layout: '{ batch: \'replica\' }' }),
}

/** Copies of a good run, each with one thing wrong. */
const damages: { readonly [folder: string]: readonly [file: string, change: (content: Buffer) => string | Uint8Array | undefined] } = {
  half: ['model.safetensors', () => undefined],
  brokenRun: ['run.json', () => '{'],
  emptyRun: ['run.json', () => '{}'],
  // Of a part that is none of ours: nothing says how to make it again.
  programRun: ['run.json', content => content.toString().replace(/,\s*"recipe": "gpt-tiny"/, '').replace(/,\s*"parts": \{[^}]*\}/, '')],
  goneRun: ['run.json', content => content.toString().replace('"recipe": "gpt-tiny"', '"recipe": "/nowhere/gone.ts"')],
  otherRows: ['run.json', content => content.toString().replace('"heldOut": 0.05', '"heldOut": 0.3')],
  lostText: ['run.json', content => content.toString().replace('/text.txt"', '/texd.txt"')],
  stopped: ['summary.json', () => undefined],
  claimed: ['summary.json', () => undefined],
  spoilt: ['summary.json', () => undefined],
  cutWeights: ['model.safetensors', content => content.subarray(0, content.length - 1000)],
  noWeights: ['model.safetensors', content => content.map(byte => byte ^ 0xa5)],
  // The embedding, which lies last: 300 tokens of 16 numbers.
  nanWeights: ['model.safetensors', content => (content.length < 300 * 64 ? content : content.fill(0xff, content.length - 300 * 64))],
  oddTokenizer: ['tokenizer.json', content => content.toString().replace('"normalizer":null', '"normalizer":{"type":"Nope"}')],
  brokenTokenizer: ['tokenizer.json', () => '{"model": {}}'],
  otherConfig: ['config.json', content => content.toString().replace('"n_embd": 16', '"n_embd": 32')],
  badConfig: ['config.json', content => content.toString().replace('"n_embd": 16', '"n_embd": -16')],
}

let before: string[] = []
let claim: Claim | undefined
beforeAll(async () => {
  place.file('text.txt', text)
  place.file('metal.dylib', Buffer.from('cffaedfe0c00000100000000060000000000000000000000', 'hex'))
  place.file('text.txt.json', 'no machine')
  place.file('gigabytes.json', '{ "name": "gigabytes", "devicesPerHost": 8, "memory": { "bytes": 80 } }')
  place.file('lacking.json', '{ "name": "lacking", "devicesPerHost": 8, "memory": {} }')
  place.file('tiny.txt', 'the people of a nation')
  place.file('empty.txt', '')
  place.file('word.txt', 'the')
  place.file('notes.md', text)
  place.file('texts/one.txt', text)
  place.file('blank.txt', ' \n\t\n')
  place.file('latin1.txt', Buffer.from('caf\xe9 and more', 'latin1'))
  place.file('configured/config.json', '{}')
  for (const [file, content] of Object.entries(recipes)) place.file(`recipes/${file}`, content)
  place.project('recipes', 'module')
  place.folder('recipes/folder.ts')
  place.folder('pips/none')
  pretendPip(place, 'pips/offline', 'echo "WARNING: Retrying after NewConnectionError: Temporary failure in name resolution" >&2; echo "ERROR: none" >&2; exit 1')
  pretendPip(place, 'pips/wrong', 'echo "not the wheel" > "$target/some.whl"')
  const made = await start(train('--out', '$F/run'), 'made')
  expect(made.code, made.err).toBe(0)
  for (const [folder, [file, change]] of Object.entries(damages)) {
    cpSync(join(place.path, 'run'), join(place.path, folder), { recursive: true, filter: path => change(Buffer.of()) !== undefined || !path.endsWith(file) })
    const damaged = change(readFileSync(join(place.path, 'run', file)))
    if (damaged !== undefined) writeFileSync(join(place.path, folder, file), damaged)
  }
  writeFileSync(join(place.path, 'spoilt/checkpoints/step-2/manifest.json'), '{')
  cpSync(join(place.path, 'run'), join(place.path, 'bare'), { recursive: true })
  for (const name of ['checkpoints', 'model.safetensors', 'tokenizer.json']) rmSync(join(place.path, 'bare', name), { recursive: true })
  claim = await claimFolder(join(place.path, 'claimed'))
  before = fixtures()
})
afterAll(() => claim?.release())
/** Everything but the folders that commands are started in, and the cache of texts and locks. */
const fixtures = (): string[] => place.list().filter(path => !/^(cwd|caches)(\/|$)/.test(path))

/** One message and no more: its first line, its rows, none of them of a stack. */
function expectOneMessage(err: string): void {
  const [first = '', ...rows] = err.trimEnd().split('\n')
  expect(first).toMatch(/^[A-Z]\w+Error\[[\w-]+\] \S/)
  expect(rows.filter(row => !/^ {2}\S/.test(row)), err).toEqual([])
  expect(rows.filter(row => /^ {2}fix +\S/.test(row)), err).toHaveLength(1)
  expect(rows.filter(row => /^\s+at /.test(row) && !/^ {2}at +(\S+:\d+:\d+|byte .*)$/.test(row)), err).toEqual([])
}

/** What the words in capitals of a fix can be, on this machine. There is no library of another plugin, nor an MPI to name. */
const placeholders = (): Placeholders => ({ DIR: join(place.path, 'fresh'), FILE: join(place.path, 'text.txt'), FOLDER: join(place.path, 'texts'), N: '1', DIM: 'heads', RECIPE: 'gpt-tiny', TEXT: '0123456789abcdef', VALUE: undefined, FILES: undefined, STORE: undefined, PATH: undefined, MPICC: undefined })
const messages = new Map<string, string>()
const proposing: string[] = []

// In one process, but for one in sixty-five; `npm run test:deep` gives each a process of its own.
describe.concurrent('bad input', () => {
  for (const [i, { name, args, env, exit, says: [code, ...parts], out: printed = '' }] of cases.entries()) {
    it(name, async ({ expect }) => {
      const { code: exitCode, err: said, out } = await start(args, name, env, all || i % 65 === 0 ? run : server.run)
      // On a busy machine work takes so long that its progress is told.
      const err = said.replace(/^(data|searching layouts): .*\n/gm, '')
      messages.set(name, err)
      expect(err).toMatch(new RegExp(`^\\w+Error\\[(${code})\\] `))
      expectOneMessage(err)
      for (const part of parts) expect(err).toMatch(part)
      expect({ exitCode, out }).toEqual({ exitCode: exit, out: printed })
      expect(place.list(`cwd/${name.replace(/\W+/g, '-')}`)).toEqual([])
    })
  }
})

describe('what a fix proposes is accepted', () => {
  /** A search over few devices says as well as one over many that it was begun. */
  const onTwo = (args: readonly string[]): string[] => {
    const at = args.indexOf('--devices')
    const searches = args.some((arg, i) => arg === '--auto' || (/^auto\b/.test(arg) && ['--mesh', '--layout'].includes(args[i - 1] ?? '')))
    return !searches ? [...args] : at < 0 ? [...args, '--devices', '2'] : args.with(at + 1, '2')
  }
  /** As quick as it can be, and of plugins only what needs no network. */
  const quick = (args: readonly string[]): string[] => {
    const [command = ''] = args
    if (args.includes('--help')) return [...args]
    if (command === 'plugins' && !args.includes('simulate')) return [...args.filter(a => !a.startsWith('--')), '--help']
    // What a shell would do: expand a pattern, and put a text into the pipe.
    return (command === 'plugins' ? train('--plugin', 'simulate') : onTwo(args)).map((arg, i, all) => (all[i - 1] === '--svg' ? '$F/cwd/drawn.svg' : arg)).map(arg => arg.replace(/\/\*\.txt$/, '/one.txt').replace(/^\/dev\/stdin$/, '$F/text.txt'))
  }

  /** Fixes of many mistakes come to one line, which is tried once. */
  const outcomes = new Map<string, Promise<Outcome>>()
  const outcomeOf = (line: readonly string[]): Promise<Outcome> => {
    const key = JSON.stringify(line)
    const outcome = outcomes.get(key) ?? tried(line)
    outcomes.set(key, outcome)
    return outcome
  }

  for (const { name, args } of cases) {
    it(name, async () => {
      const lines = proposals(messages.get(name) ?? '', args.map(filled), placeholders())
      if (lines.length > 0) proposing.push(name)
      for (const line of lines.map(quick)) {
        const { accepted, message } = await outcomeOf(line.map(filled))
        expect(accepted, `${messages.get(name)}\nfollowed: meshwork ${line.join(' ')}\n${message}`).toBe(true)
      }
    })
  }
})

describe('afterwards', () => {
  it('enough was proposed', () => { expect(proposing.length).toBeGreaterThan(40) })

  it('nothing was written beside the files that were there, and nothing of a plugin', () => {
    expect(fixtures()).toEqual(before)
    const left = place.list('caches').filter(path => path.includes('plugins') && !/plugins(\/\.lock)?$/.test(path))
    expect(left).toEqual([])
  })

  it('--debug adds the stack, and what caused it', async () => {
    const { code, err } = await start([...recipe('throws.ts'), '--debug'], 'debug')
    expect(code).toBe(2)
    expect(err).toMatch(/^ {4}at .*src\/cli\/recipes\.ts:\d+/m)
    expect(err).toMatch(/^caused by boom\n {4}at /m)
  })

  it('--json leaves stdout to JSON: the message is on stderr', async () => {
    const { code, out, err } = await start(trainOn('empty.txt', '--json'), 'json')
    expect({ code, out }).toEqual({ code: 1, out: '' })
    expectOneMessage(err)
  })
})
