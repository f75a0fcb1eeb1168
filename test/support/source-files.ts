import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import ts from 'typescript';

export const root: string = fileURLToPath(new URL('../../', import.meta.url));

/** A file of `src` and what it imports: files as paths from the root, packages by name, Node's modules as `node:…`. */
export interface SourceFile {
  readonly path: string;
  readonly files: readonly string[];
  readonly packages: readonly string[];
}

export function listSourceFiles(): string[] {
  const names = readdirSync(`${root}src`, { recursive: true, encoding: 'utf8' });
  return names.filter((name) => /\.tsx?$/.test(name)).map((name) => `src/${name}`);
}

export function readSourceFile(file: string): SourceFile {
  const { importedFiles } = ts.preProcessFile(readFileSync(`${root}${file}`, 'utf8'), true, true);
  const specifiers = importedFiles.map(({ fileName }) => fileName);
  return {
    path: file,
    files: specifiers.filter((name) => name.startsWith('.')).map((name) => path.join(path.dirname(file), name)),
    packages: specifiers.filter((name) => !name.startsWith('.')).map((name) => readPackage(name)),
  };
}

/** `ajv/dist/2020.js` is of `ajv`. */
function readPackage(specifier: string): string {
  if (specifier.startsWith('node:')) return specifier;
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}
