import { expect, test } from 'vitest';

import { readTestNames } from '../support/test-names.ts';

test('names of tests are found however they are written, and those of skipped tests and comments are not', () => {
  const text = `
    // test('[SE1] in a comment', () => {});
    /* describe('[SE1] in another', () => {}); */
    test('[PU1] plain', () => { expect('[SE2] in a body'); });
    test.each([1, 2])('[PU2] table %i', (n) => {});
    test.each\`a\${1}\`('[PU3] tagged', () => {});
    test(\`[PU4] template \${n}\`, { timeout: 1 }, async () => {});
    describe('[PU5] block', () => { it('inner', () => {}); test.skip('[WP1] skipped', () => {}); });
    describe.each(all)('[LI1] of $name', () => { test.concurrent('inner', () => {}); });
    for (const n of all) test('[LI2] in a loop', function run() {});
    describe.skip('[WP2] skipped block', () => { test('inner', () => {}); });
    test.skipIf(isSlow)('[WP3] perhaps skipped', () => {});
    test.todo('[RE1] to do');
    describe('[RE2] an empty block', () => {});
    other('[RE3] no test', () => {});
  `;
  expect(readTestNames('example.test.ts', text)).toEqual([
    '[PU1] plain',
    '[PU2] table %i',
    '[PU3] tagged',
    '[PU4] template …',
    '[PU5] block inner',
    '[LI1] of $name inner',
    '[LI2] in a loop',
  ]);
});
