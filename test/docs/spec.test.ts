import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { expect, test } from 'vitest';

import { readTestNames } from '../support/test-names.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const ruleId = /\b[A-Z]{2}\d+\b/g;

/** The rules of docs/SPEC.md with the test files that it names. */
function readRules(): Map<string, string[]> {
  const rules = new Map<string, string[]>();
  const spec = readFileSync(`${root}docs/SPEC.md`, 'utf8');
  for (const [, id = '', body = ''] of spec.matchAll(/\*\*([A-Z]{2}\d+)\*\*([\s\S]*?)(?=\n\*\*|\n## |$)/g)) {
    const [, listed = ''] = /\nTests: (.*)/.exec(body) ?? [];
    rules.set(id, [...listed.matchAll(/`([^`]+)`/g)].map(([, file = '']) => file).sort());
  }
  return rules;
}

/** Rule ids in square brackets in the names of tests that run, with the files that quote them. */
function readQuotes(): Map<string, string[]> {
  const quotes = new Map<string, Set<string>>();
  const files = readdirSync(`${root}test`, { recursive: true, encoding: 'utf8' });
  for (const file of files.filter((name) => name.endsWith('.test.ts')).map((name) => `test/${name}`)) {
    const names = readTestNames(file, readFileSync(`${root}${file}`, 'utf8'));
    for (const [bracket] of names.join('\n').matchAll(/\[[A-Z]{2}\d+(?:[, ]+[A-Z]{2}\d+)*\]/g)) {
      for (const [id] of bracket.matchAll(ruleId)) quotes.set(id, (quotes.get(id) ?? new Set()).add(file));
    }
  }
  return new Map([...quotes].map(([id, files]) => [id, [...files].sort()]));
}

/** Writes the lists of docs/SPEC.md anew, from what the tests say; `npm run docs` asks for it. */
function updateLists(quotes: ReadonlyMap<string, readonly string[]>): void {
  const spec = readFileSync(`${root}docs/SPEC.md`, 'utf8');
  const updated = spec.replaceAll(
    /(\*\*([A-Z]{2}\d+)\*\*[\s\S]*?\nTests: ).*/g,
    (_, before: string, id: string) => before + formatFiles(quotes.get(id)),
  );
  writeFileSync(`${root}docs/SPEC.md`, updated);
}

function formatFiles(files: readonly string[] | undefined): string {
  return files === undefined ? 'none' : files.map((file) => `\`${file}\``).join(', ');
}

test('every rule has a test, every id that a test quotes is a rule, and docs/SPEC.md names the files', () => {
  const quotes = readQuotes();
  if (process.env['UPDATE_DOCS'] !== undefined) updateLists(quotes);
  const rules = readRules();
  expect(rules.size).toBeGreaterThan(10);
  const expected = [...rules.keys()].map((id) => `${id}: ${formatFiles(quotes.get(id))}`);
  const listed = [...rules].map(([id, files]) => `${id}: ${formatFiles(files)}`);
  expect(listed).toEqual(expected);
  expect([...quotes.keys()].filter((id) => !rules.has(id))).toEqual([]);
});
