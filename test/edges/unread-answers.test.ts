import { expect, test } from 'vitest';

import { PacedReads } from '../../src/edges/http/paced-reads.ts';
import { UnreadAnswers } from '../../src/edges/http/unread-answers.ts';
import type { UnreadAnswer } from '../../src/edges/http/unread-answers.ts';

function createAnswer(bytesLeft: number): UnreadAnswer & { bytesLeft: number; isCut: boolean } {
  const answer = {
    bytesLeft,
    address: '10.0.0.1',
    isCut: false,
    cut: () => {
      answer.isCut = true;
    },
  };
  return answer;
}

test('[LI1] answers that nobody reads are bounded together, and cut when nothing of them is read, or not all in time', () => {
  let cuts = 0;
  const unread = new UnreadAnswers({ bytesMax: 100, stallTimeoutMs: 10, timeoutMs: 50, onCut: () => (cuts += 1) });
  expect(unread.hasRoom(1000)).toBe(true);
  const [still, slow, quick] = [createAnswer(60), createAnswer(40), createAnswer(30)];
  unread.add(still, 0);
  unread.add(slow, 0);
  expect(unread.hasRoom(1)).toBe(false);
  for (let now = 5; now <= 45; now += 5) {
    slow.bytesLeft -= 1;
    unread.note(slow, now);
    // That it may write says nothing if it does not read.
    unread.note(still, now);
    unread.tick(now);
    expect([still.isCut, slow.isCut]).toEqual([now >= 10, false]);
  }
  expect(unread.bytes).toBe(31);
  unread.add(quick, 45);
  quick.bytesLeft = 0;
  unread.note(quick, 46);
  unread.tick(50);
  expect([slow.isCut, quick.isCut, unread.bytes, cuts]).toEqual([true, false, 0, 2]);
});

test('[LI1] large lists are read for one caller at a time, small ones for many', async () => {
  const reads = new PacedReads(1000);
  let underWay = 0;
  let most = 0;
  const read = async (characters: number): Promise<void> => {
    await reads.run(async () => {
      underWay += 1;
      most = Math.max(most, underWay);
      await new Promise((resolve) => setImmediate(resolve));
      underWay -= 1;
      return { status: 200, body: 'x'.repeat(characters), headers: {} };
    });
  };
  await Promise.all(Array.from({ length: 20 }, () => read(900)));
  expect(most).toBe(1);
  await Promise.all(Array.from({ length: 200 }, () => read(1)));
  most = 0;
  await Promise.all(Array.from({ length: 50 }, () => read(1)));
  expect(most).toBeGreaterThan(20);
  expect(underWay).toBe(0);
});
