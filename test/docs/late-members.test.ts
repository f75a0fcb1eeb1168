import { readFileSync } from 'node:fs';

import { expect, test } from 'vitest';

import { findLateMembers } from '../support/late-members.ts';
import { listSourceFiles, root } from '../support/source-files.ts';

test('a member that is handed out before it is assigned is found, and one that is there is not', () => {
  const text = `
    class Early {
      readonly #a: A;
      readonly #b: B;
      readonly #c: C = new C(() => this.#a.run());
      #count = 0;
      constructor() {
        this.#a = new A(() => this.#b.run());
        this.#create();
        this.#a.on((what) => { this.#count += this.#b.size; });
        this.#b = new B(() => this.#a.run(this.#count));
        this.#a.on(() => { this.#b.run(); });
        this.#count = this.#size();
      }
      #create(): void { this.#b.run(); this.#a.run(); }
      #size(): number { return this.#b.size; }
    }
    const other = class { #d: D; #e: E; constructor() { const d = () => this.#e; this.#d = d; this.#e = d(); } };
  `;
  expect(findLateMembers('early.ts', text)).toEqual([
    'early.ts:5 this.#a',
    'early.ts:8 this.#b',
    'early.ts:10 this.#b',
    'early.ts:15 this.#b',
    'early.ts:18 this.#e',
  ]);
});

test('objects are complete when they are handed out: no closure of a constructor reads a member that is assigned later', () => {
  const files = listSourceFiles();
  expect(files.length).toBeGreaterThan(100);
  expect(files.flatMap((file) => findLateMembers(file, readFileSync(`${root}${file}`, 'utf8')))).toEqual([]);
});
