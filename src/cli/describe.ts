import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { describeOpenapi } from '../protocol/openapi.ts';
import { describeOpenrpc } from '../protocol/openrpc.ts';

/** Writes the machine-readable descriptions of the protocol to `docs/`; `npm run docs` runs it. */

// From dist/src/cli to the root.
const root = fileURLToPath(new URL('../../../', import.meta.url));
const { version } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as { version: string };

for (const [file, description] of [
  ['openrpc.json', describeOpenrpc(version)],
  ['openapi.json', describeOpenapi(version)],
] as const) {
  writeFileSync(`${root}docs/${file}`, `${JSON.stringify(description, undefined, 2)}\n`);
}
