import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';

import { expect, test } from 'vitest';

import { capabilities } from '../../src/protocol/capabilities.ts';
import { closeCodes, errorCodes } from '../../src/protocol/errors.ts';
import { commonErrors, httpOperations } from '../../src/protocol/http-operations.ts';
import { protocolLimits, protocolVersion, sessionPath, subprotocol } from '../../src/protocol/limits.ts';
import { methodSchemas, notificationSchemas } from '../../src/protocol/schemas.ts';

const markdown = readFileSync(fileURLToPath(new URL('../../docs/PROTOCOL.md', import.meta.url)), 'utf8');

/** What only people read; it may be worded better without a new version. */
const wording = new Set(['description', 'summary', 'meaning']);

/** JSON with sorted keys and without wording, so that equal schemas give equal text. */
function canonicalize(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalize).join()}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const entries = Object.entries(value).filter(([key, entry]) => !(wording.has(key) && typeof entry === 'string'));
  return `{${entries
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, entry]) => `${JSON.stringify(key)}:${canonicalize(entry)}`)
    .join()}}`;
}

function valuesOf(field: 'number' | 'status'): object {
  return Object.fromEntries(Object.entries(errorCodes).map(([code, facts]) => [code, facts[field]]));
}

/** All that clients of a side rely on. */
const sides = {
  session: {
    sessionPath,
    subprotocol,
    methodSchemas,
    notificationSchemas,
    capabilities,
    errors: valuesOf('number'),
    closeCodes,
    protocolLimits,
  },
  HTTP: { httpOperations, commonErrors, errors: valuesOf('status') },
};

test.each([
  ['the session', sides.session],
  ['HTTP', sides.HTTP],
])('[WP1] %s is as the history of docs/PROTOCOL.md records it for this version', (side, schemas) => {
  const [, section = ''] = markdown.split(`### Fingerprints of ${side}\n`);
  const [table = ''] = section.split('\n#');
  const history = [...table.matchAll(/^\| (\d+) \| `([0-9a-f]{64})` \| .+ \|$/gm)].map(([, version, hash]) => ({
    version: Number(version),
    hash,
  }));
  const hash = createHash('sha256').update(canonicalize(schemas)).digest('hex');
  const isRecorded = isDeepStrictEqual(history.at(-1), { version: protocolVersion, hash });
  const advice =
    `What crosses the wire has changed for ${side}. If it is no mere addition, raise \`protocolVersion\` in src/protocol/limits.ts. Add a line with the ` +
    `version, the fingerprint ${hash} and what changed to the history at the end of docs/PROTOCOL.md, under "Fingerprints of ${side}".`;
  expect(isRecorded ? 'recorded' : advice).toBe('recorded');
  // A line for each version, and for each addition to one.
  for (const [index, { version }] of history.entries()) {
    expect([0, 1]).toContain(version - (history[index - 1]?.version ?? 0));
  }
});

test('[WP1] the fingerprint sees a changed bound, type or name, and overlooks order and wording', () => {
  const schema = { type: 'integer', minimum: 1, description: 'a' };
  expect(canonicalize({ minimum: 1, description: 'b', type: 'integer' })).toBe(canonicalize(schema));
  expect(canonicalize({ ...schema, minimum: 2 })).not.toBe(canonicalize(schema));
  expect(canonicalize({ ...schema, type: 'number' })).not.toBe(canonicalize(schema));
  expect(canonicalize({ properties: { a: schema } })).not.toBe(canonicalize({ properties: { b: schema } }));
  // A field of that name is not wording.
  expect(canonicalize({ properties: { description: schema } })).not.toBe(canonicalize({ properties: {} }));
});
