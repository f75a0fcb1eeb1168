import { readdirSync, readFileSync } from 'node:fs';

import { expect, test } from 'vitest';

import { listSourceFiles, root } from '../support/source-files.ts';

const glossary = readFileSync(`${root}docs/GLOSSARY.md`, 'utf8');

function readTerms(): string[] {
  return [...glossary.matchAll(/^\| ([^|]+) \| .+ \|$/gm)]
    .map(([, term = '']) => term)
    .filter((term) => term !== 'term');
}

/** The parts of a headword that are looked for each by itself: `token bucket (GCRA)` has two. */
function partsOf(term: string): string[] {
  return term
    .split(/[()]/)
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

test('docs/GLOSSARY.md lists each term once', () => {
  const terms = readTerms();
  expect(terms.length).toBeGreaterThan(30);
  expect(new Set(terms).size).toBe(terms.length);
});

test('each term of docs/GLOSSARY.md is used in the other documents or in the code', () => {
  const documents = readdirSync(`${root}docs`).filter((name) => name.endsWith('.md') && name !== 'GLOSSARY.md');
  const files = [...documents.map((name) => `docs/${name}`), ...listSourceFiles()];
  const text = files.map((file) => readFileSync(`${root}${file}`, 'utf8')).join('\n');
  const isUsed = (part: string): boolean => new RegExp(`\\b${part}`, 'i').test(text);
  expect(readTerms().filter((term) => !partsOf(term).every(isUsed))).toEqual([]);
});

test('rules that docs/GLOSSARY.md names are in docs/SPEC.md', () => {
  const rules = readFileSync(`${root}docs/SPEC.md`, 'utf8');
  const named = [...glossary.matchAll(/\(([A-Z]{2}\d+)\)/g)].map(([, rule]) => rule);
  expect(named.length).toBeGreaterThan(10);
  expect(named.filter((rule) => !rules.includes(`**${rule}**`))).toEqual([]);
});
