import { expect, test } from 'vitest';

import { resolveConfig } from '../../src/config/config-checking.ts';
import { HostFlows } from '../../src/workers/host-flows.ts';
import { fromPartition } from '../../src/workers/messages.ts';

const limits = { ...resolveConfig({}), answerCharactersInFlightMax: 100, pushCharactersInFlightMax: 100 };

function createFlows(): { readonly flows: HostFlows; readonly said: unknown[] } {
  const said: unknown[] = [];
  const flows = new HostFlows(limits, (host, ...record) => said.push([host, ...record]));
  flows.attach(0);
  return { flows, said };
}

test('[LI1] credit for what an earlier life sent makes no room for more than may be under way', () => {
  const { flows } = createFlows();
  flows.credit(0, { pushes: 1000, answers: 1000 });
  flows.notePush(0, 100);
  flows.noteAnswer(0, 100);
  expect([flows.isFull, flows.hasAnswerRoom(0)]).toEqual([true, false]);
  flows.credit(0, { pushes: 1, answers: 1 });
  expect([flows.isFull, flows.hasAnswerRoom(0)]).toEqual([false, true]);
});

test('[LI1] that there is no room for answers is told once, and again when there has been some', () => {
  const { flows, said } = createFlows();
  flows.noteAnswer(0, 100);
  for (let i = 0; i < 3; i++) expect(flows.hasAnswerRoom(0)).toBe(false);
  expect(said).toEqual([[0, fromPartition.bound, 'answerCharactersInFlightMax']]);
  flows.credit(0, { pushes: 0, answers: 50 });
  expect(flows.hasAnswerRoom(0)).toBe(true);
  flows.noteAnswer(0, 50);
  expect(flows.hasAnswerRoom(0)).toBe(false);
  expect(said).toHaveLength(2);
});

test('an equal text counts once in a turn, and again in the next', () => {
  const { flows, said } = createFlows();
  expect([flows.noteAnswerText(0, 'x'.repeat(20)), flows.noteAnswerText(0, 'x'.repeat(20))]).toEqual([true, false]);
  flows.tellAnswers();
  expect(said).toEqual([[0, fromPartition.answered, 20]]);
  expect(flows.noteAnswerText(0, 'x'.repeat(20))).toBe(true);
  flows.tellAnswers();
  expect(said).toHaveLength(2);
});

test('a host is not there before what was its predecessor’s has been forgotten', () => {
  const { flows } = createFlows();
  flows.notePush(0, 100);
  flows.detach(0);
  expect([flows.isThere(0), flows.isFull]).toEqual([false, false]);
  flows.attach(0);
  expect(flows.isThere(0)).toBe(false);
  flows.noteLeft(0);
  expect(flows.isThere(0)).toBe(true);
});
