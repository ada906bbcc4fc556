/** Decoders whose windows are split: logits at every position, losses and gradients are those of one device, whatever the form, packed documents too. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compile, full, initialise, keyOf, lossAndGrads, mesh as meshOf, openBackend, type Backend, type MeshArray } from '../../src/engine/index.ts'
import { treeOps } from '../../src/core/tree.ts'
import { gpt, llama, llamaSchema, type AnyModel } from '../../src/models/index.ts'
import type { Context } from '../../src/nn/index.ts'
import { leafValues } from '../graph/support.ts'
import { relativeError } from '../support/values.ts'
