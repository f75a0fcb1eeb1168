import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { expect } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** `npm run docs` asks for it: tables are written, not compared. */
const isWriting = process.env['UPDATE_DOCS'] !== undefined;

/**
 * A table of a document has these rows and no other. `header`: its first line, the only one of its kind in the file. Of a row only the cells that are given
 * count: what a table says in further columns is written by hand, and kept.
 */
export function expectTable(file: string, header: string, rows: readonly (readonly string[])[]): void {
  const lines = readFileSync(`${root}${file}`, 'utf8').split('\n');
  const first = lines.indexOf(header) + 2;
  if (first === 1) throw new Error(`${file} has no table that begins with ${header}`);
  const end = lines.findIndex((line, index) => index >= first && !line.startsWith('|'));
  const found = lines.slice(first, end).map((line) => readCells(line));
  if (!isWriting) {
    const width = rows[0]?.length ?? 0;
    expect(found.map((cells) => cells.slice(0, width))).toEqual(rows);
    return;
  }
  const kept = new Map(found.map((cells) => [cells[0], cells]));
  const written = rows.map((cells) => [...cells, ...(kept.get(cells[0]) ?? []).slice(cells.length)]);
  lines.splice(first, end - first, ...written.map((cells) => `| ${cells.join(' | ')} |`));
  writeFileSync(`${root}${file}`, lines.join('\n'));
}

function readCells(row: string): string[] {
  return row.slice(2, -2).split(' | ');
}
