import { readFileSync } from 'node:fs';
import path from 'node:path';

import { expect, test } from 'vitest';

import { listSourceFiles, readSourceFile, root } from '../support/source-files.ts';
import type { SourceFile } from '../support/source-files.ts';
import { findUnusedMembers } from '../support/unused-members.ts';

/** What a cell of the table allows: a name, with the only file that it is meant for, if there is one. */
type Allowed = ReadonlyMap<string, string | undefined>;

interface Layer {
  readonly folder: string;
  readonly folders: Allowed;
  readonly packages: Allowed;
}

function readLayers(): Layer[] {
  const text = readFileSync(`${root}docs/ARCHITECTURE.md`, 'utf8');
  const rows = [...text.matchAll(/^\| `src\/(\w+)` \| .* \| (.*) \| (.*) \|$/gm)];
  return rows.map(([, folder = '', folders = '', packages = '']) => ({
    folder,
    folders: readCell(folders),
    packages: readCell(packages.replace('Node', '`node:*`')),
  }));
}

function readCell(cell: string): Allowed {
  return new Map([...cell.matchAll(/`([^`]+)`(?: \(`([^`]+)`\))?/g)].map(([, name = '', file]) => [name, file]));
}

const layers = readLayers();
const files = listSourceFiles().map((file) => readSourceFile(file));

function folderOf(file: string): string {
  return file.split('/')[1] ?? '';
}

function edgeOf(file: string): string {
  return file.split('/').slice(0, 3).join('/');
}

/** The imports of a file from other folders: `[name in the table, file that imports or is imported]`. */
function* crossings(file: SourceFile): Generator<readonly [kind: 'folders' | 'packages', name: string, only: string]> {
  for (const imported of file.files) {
    const folder = folderOf(imported);
    if (folder !== folderOf(file.path)) yield ['folders', folder, path.basename(imported)];
  }
  for (const name of file.packages) {
    yield ['packages', name.startsWith('node:') ? 'node:*' : name, path.basename(file.path)];
  }
}

test('every file lies in a folder of the table, or one below it for each edge', () => {
  const known = new Set(layers.map(({ folder }) => folder));
  const misplaced = files.filter(({ path: file }) => {
    const [, folder = '', ...rest] = file.split('/');
    // The report of the bench suite is a folder of its own, as each of its scenarios is a file of one.
    const depth = folder === 'edges' ? [2] : folder === 'bench' ? [1, 2] : [1];
    return !known.has(folder) || !depth.includes(rest.length);
  });
  expect(misplaced.map(({ path: file }) => file)).toEqual([]);
});

test('a folder imports only what stands above it, and only what the table lets it', () => {
  for (const [index, { folder, folders }] of layers.entries()) {
    const above = layers.slice(0, index).map((layer) => layer.folder);
    expect(above, `what ${folder} may import`).toEqual(expect.arrayContaining([...folders.keys()]));
  }
  const rules = new Map(layers.map((layer) => [layer.folder, layer]));
  const forbidden: string[] = [];
  for (const file of files) {
    const layer = rules.get(folderOf(file.path));
    for (const [kind, name, only] of crossings(file)) {
      const allowed = layer?.[kind];
      const isAllowed = allowed?.has(name) === true && (allowed.get(name) ?? only) === only;
      if (!isAllowed) forbidden.push(`${file.path} imports ${name} (${only})`);
    }
  }
  expect(forbidden).toEqual([]);
});

test('no edge imports another', () => {
  const edges = files.filter(({ path: file }) => folderOf(file) === 'edges');
  const crossing = edges.flatMap(({ path: file, files: imported }) =>
    imported
      .filter((other) => folderOf(other) === 'edges' && edgeOf(other) !== edgeOf(file))
      .map((other) => `${file} imports ${other}`),
  );
  expect(crossing).toEqual([]);
});

test('what the table lets a folder import is imported', () => {
  const used = new Map<string, Set<string>>(layers.map(({ folder }) => [folder, new Set<string>()]));
  for (const file of files) {
    for (const [kind, name] of crossings(file)) used.get(folderOf(file.path))?.add(`${kind} ${name}`);
  }
  const unused = layers.flatMap((layer) =>
    (['folders', 'packages'] as const).flatMap((kind) =>
      [...layer[kind].keys()]
        .filter((name) => used.get(layer.folder)?.has(`${kind} ${name}`) !== true)
        .map((name) => `${layer.folder}: ${name}`),
    ),
  );
  expect(unused).toEqual([]);
});

test('no files import each other in a circle, be it for types', () => {
  const imports = new Map(files.map((file) => [file.path, file.files]));
  const done = new Set<string>();
  const circles: string[] = [];
  const visit = (file: string, trail: readonly string[]): void => {
    if (trail.includes(file)) circles.push([...trail.slice(trail.indexOf(file)), file].join(' → '));
    if (done.has(file)) return;
    done.add(file);
    for (const imported of imports.get(file) ?? []) visit(imported, [...trail, file]);
  };
  for (const file of imports.keys()) visit(file, []);
  expect(circles).toEqual([]);
});

test('every member of a class is used', { timeout: 300_000 }, () => {
  expect(findUnusedMembers()).toEqual([]);
});
