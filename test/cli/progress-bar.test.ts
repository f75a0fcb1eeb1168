import { expect, test } from 'vitest';

import { formatProgress, ProgressBar } from '../../src/cli/progress-bar.ts';

function watch(isTTY: boolean): { readonly out: NodeJS.WriteStream; readonly written: string[] } {
  const written: string[] = [];
  const out = { isTTY, columns: 60, write: (text: string) => written.push(text) } as unknown as NodeJS.WriteStream;
  return { out, written };
}

test('a bar grows with its share, and stays within its width', () => {
  expect(formatProgress('importing', 0, '0 records')).toBe('importing  [------------------------] 0 %  0 records');
  expect(formatProgress('importing', 0.5, '5 records')).toBe('importing  [############------------] 50 %  5 records');
  expect(formatProgress('importing', 1.5, '9 records')).toBe('importing  [########################] 100 %  9 records');
  expect(formatProgress('importing', undefined, '9 records')).toBe('importing  9 records');
});

test('on a terminal the line is drawn and taken away; elsewhere nothing is written', () => {
  const terminal = watch(true);
  const bar = new ProgressBar(terminal.out, 'importing');
  bar.show(0.5, 'x'.repeat(100));
  // Too soon to be drawn again.
  bar.show(0.6, '');
  bar.end();
  expect(terminal.written).toEqual([
    `\r\u001B[2K${`importing  [############------------] 50 %  ${'x'.repeat(100)}`.slice(0, 59)}`,
    '\r\u001B[2K',
  ]);
  const pipe = watch(false);
  const quiet = new ProgressBar(pipe.out, 'importing');
  quiet.show(0.5, '');
  quiet.end();
  expect(pipe.written).toEqual([]);
});
