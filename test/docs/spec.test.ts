import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { expect, test } from 'vitest';

import { readTestNames } from '../support/test-names.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const ruleId = /\b(?:SL|SE|PU|RE|WP|LI)\d+\b/g;

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

test('every rule has a test, every id that a test quotes is a rule, and docs/SPEC.md names the files', () => {
  const rules = readRules();
  const quotes = readQuotes();
  expect(rules.size).toBeGreaterThan(10);
  const expected = [...rules.keys()].map(
    (id) => `${id}: ${(quotes.get(id) ?? ['no test']).map((file) => `\`${file}\``).join(', ')}`,
  );
  const listed = [...rules].map(([id, files]) => `${id}: ${files.map((file) => `\`${file}\``).join(', ')}`);
  expect(listed).toEqual(expected);
  expect([...quotes.keys()].filter((id) => !rules.has(id))).toEqual([]);
});
