import { expect, test } from 'vitest';

import { BatchAnswers } from '../../src/sessions/batch-answers.ts';

test('a batch is answered once, in the order of its requests, when all answers are there', () => {
  const sent: string[] = [];
  const answers = new BatchAnswers(1000, (parts) => sent.push(...parts));
  const [first, second] = [answers.reserve(), answers.reserve()];
  answers.fill(second, '2');
  answers.close();
  expect(sent).toEqual([]);
  answers.defer(() => sent.push('after'));
  answers.fill(first, '1');
  expect(sent).toEqual(['1', '2', 'after']);
});

test('a batch of nothing but notifications is not answered', () => {
  const sent: unknown[] = [];
  new BatchAnswers(1000, (parts) => sent.push(parts)).close();
  expect(sent).toEqual([]);
});
