import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, beforeAll, expect, test } from 'vitest';

import { listProductionPackages } from '../support/production-packages.ts';
import { root } from '../support/source-files.ts';

interface Component {
  readonly 'bom-ref': string;
  readonly type: string;
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly licenses: readonly object[];
  readonly hashes: readonly { readonly alg: string; readonly content: string }[];
}

interface Bom {
  readonly bomFormat: string;
  readonly specVersion: string;
  readonly serialNumber: string;
  readonly version: number;
  readonly metadata: { readonly component: Component; readonly timestamp?: string };
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

let folder: string;
let text: string;
let bom: Bom;

function writeBom(name: string, environment: Record<string, string> = {}): string {
  const file = path.join(folder, name);
  execFileSync(process.execPath, [`${root}dist/build/sbom.js`, file], { env: { ...process.env, ...environment } });
  return readFileSync(file, 'utf8');
}

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'sbom-'));
  text = writeBom('1.json');
  bom = JSON.parse(text) as Bom;
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

test('it is a CycloneDX document about this package', () => {
  const { name, version } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as {
    name: string;
    version: string;
  };
  expect(bom).toMatchObject({
    bomFormat: 'CycloneDX',
    specVersion: expect.stringMatching(/^1\.\d$/) as string,
    serialNumber: expect.stringMatching(
      /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/,
    ) as string,
    version: 1,
    metadata: { component: { type: 'application', name, version, purl: `pkg:npm/${name}@${version}` } },
  });
});

test('it lists each production dependency once, what the console contains, and nothing else', () => {
  const { devDependencies } = JSON.parse(readFileSync(`${root}package-lock.json`, 'utf8')).packages[''] as {
    devDependencies: Record<string, string>;
  };
  const production = listProductionPackages().map(({ name, version }) => `${name}@${version}`);
  const listed = bom.components.map(({ name, version }) => `${name}@${version}`).sort();
  const bundled = listed.filter((ref) => /^(preact|uplot)@/.test(ref));
  expect(bundled.map((ref) => ref.split('@')[0])).toEqual(
    Object.keys(devDependencies).filter((name) => /^(preact|uplot)$/.test(name)),
  );
  expect(listed).toEqual([...new Set([...production, ...bundled])].sort());
});

test('each component has a purl, a licence and the hash of its package', () => {
  const incomplete = bom.components.filter(({ name, version, purl, licenses, hashes }) => {
    const isNamed = purl === `pkg:npm/${name.replace('@', '%40')}@${version}`;
    return (
      !isNamed ||
      licenses.length === 0 ||
      !hashes.some(({ alg, content }) => alg === 'SHA-512' && content.length === 128)
    );
  });
  expect(incomplete).toEqual([]);
});

test('every dependency is a component, and every component can be reached', () => {
  const known = new Map(bom.dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]));
  const reached = new Set([bom.metadata.component['bom-ref']]);
  for (const ref of reached) for (const other of known.get(ref) ?? ['?']) reached.add(other);
  expect([...reached].sort()).toEqual(
    [bom.metadata.component, ...bom.components].map((each) => each['bom-ref']).sort(),
  );
});

test('the same lockfile gives the same bytes, dated only if a date is given', () => {
  expect(writeBom('2.json')).toBe(text);
  expect(bom.metadata.timestamp).toBeUndefined();
  const dated = JSON.parse(writeBom('3.json', { SOURCE_DATE_EPOCH: '1700000000' })) as Bom;
  expect(dated.metadata.timestamp).toBe('2023-11-14T22:13:20.000Z');
});
