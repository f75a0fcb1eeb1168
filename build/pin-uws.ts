/**
 * Writes `src/transport/uws-pins.ts`: the SHA-256 of each file of the installed socket library that Node can load. Run it after `npm ci` with the version that the lockfile names, which
 * is what npm has compared with the lockfile's hash of the whole package, and look at what changes.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** This file runs compiled, two folders below. */
const root = fileURLToPath(new URL('../../', import.meta.url));
const folder = path.join(root, 'node_modules/uWebSockets.js');

interface Lockfile {
  readonly packages: Readonly<
    Record<string, { readonly name?: string; readonly version: string; readonly integrity?: string }>
  >;
}

function listLoadable(): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return names
    .map((name) => name.replaceAll(path.sep, '/'))
    .filter((name) => /\.(node|[cm]?js)$/.test(name))
    .sort();
}

const lockfile = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8')) as Lockfile;
const locked = lockfile.packages['node_modules/uWebSockets.js'];
if (locked === undefined) throw new Error('package-lock.json has no uWebSockets.js');
const entry = path.relative(folder, fileURLToPath(import.meta.resolve('uWebSockets.js'))).replaceAll(path.sep, '/');
const files = listLoadable().map((name) => {
  const hash = createHash('sha256')
    .update(readFileSync(path.join(folder, name)))
    .digest('hex');
  return `    '${name}': '${hash}',\n`;
});
writeFileSync(
  path.join(root, 'src/transport/uws-pins.ts'),
  `/** Written by \`npm run pin:uws\`: what the files of the socket library must be. */
export const uwsPins = {
  package: '${locked.name ?? 'uWebSockets.js'}',
  version: '${locked.version}',
  integrity:
    '${locked.integrity ?? ''}',
  entry: '${entry}',
  files: {
${files.join('')}  },
} as const;
`,
);
