import { existsSync, readdirSync, readFileSync } from 'node:fs';

import { expect, test } from 'vitest';

import { listProductionPackages } from '../support/production-packages.ts';
import { root } from '../support/source-files.ts';

/** Licences that ask for no more than that their text is kept. */
const allowed = new Set(['0BSD', 'Apache-2.0', 'BlueOak-1.0.0', 'BSD-2-Clause', 'BSD-3-Clause', 'ISC', 'MIT', 'Zlib']);
/** What the console contains: development installs it. */
const bundled = ['preact', 'uplot'];

/** `MIT`, `(MIT AND Zlib)`: all of it must be allowed. */
function isAllowed(expression: unknown): boolean {
  if (typeof expression !== 'string') return false;
  return expression
    .replace(/^\((.*)\)$/, '$1')
    .split(' AND ')
    .every((licence) => allowed.has(licence));
}

function readInstalled(place: string): { readonly license?: unknown } {
  return JSON.parse(readFileSync(`${root}${place}/package.json`, 'utf8')) as { license?: unknown };
}

const shipped = [
  ...listProductionPackages(),
  ...bundled.map((name) => ({
    place: `node_modules/${name}`,
    name,
    license: readInstalled(`node_modules/${name}`).license,
  })),
];

test('every dependency that is shipped has a licence that is allowed, by the lockfile and by what is installed', () => {
  const refused = shipped.filter(({ place, license }) => {
    // Binaries for other platforms are not installed.
    const isInstalled = existsSync(`${root}${place}/package.json`);
    return !isAllowed(license) || (isInstalled && !isAllowed(readInstalled(place).license));
  });
  expect(refused).toEqual([]);
  expect(shipped.length).toBeGreaterThan(50);
});

test.each(['GPL-3.0', '(MIT OR GPL-3.0)', '(MIT AND GPL-3.0)', 'UNLICENSED', '', undefined, { type: 'MIT' }])(
  'the licence %j is not allowed',
  (licence) => {
    expect(isAllowed(licence)).toBe(false);
  },
);

test.each(['uWebSockets.js', ...bundled])('docs/THIRD-PARTY.md has the licence of %s as it is', (name) => {
  const text = readFileSync(`${root}node_modules/${name}/LICENSE`, 'utf8').trim();
  expect(readFileSync(`${root}docs/THIRD-PARTY.md`, 'utf8')).toContain(text);
});

test('the console contains nothing else of others than what docs/THIRD-PARTY.md names', () => {
  const sources = readdirSync(`${root}src/console`).filter((name) => /\.tsx?$/.test(name));
  const imported = sources.flatMap((name) => {
    const text = readFileSync(`${root}src/console/${name}`, 'utf8');
    return [...text.matchAll(/from '([^.'][^'/]*)/g)].map(([, from = '']) => from);
  });
  expect([...new Set(imported)].sort()).toEqual(bundled);
});
