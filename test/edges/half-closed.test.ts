import { afterAll, beforeAll, expect, test } from 'vitest';

import { healthHead } from '../support/http-text.ts';
import { RawSocket } from '../support/raw-socket.ts';
import { Witness } from '../support/witness.ts';

let witness: Witness;
beforeAll(async () => {
  witness = await Witness.start();
});
afterAll(() => witness.stop());

function word(path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`;
}

/** Sends all at once, and no more. */
async function sendWhole(text: string): Promise<string> {
  const socket = await RawSocket.connect(witness.httpPort);
  socket.socket.end(text);
  await socket.ended;
  return socket.unread.toString();
}

test('[HT1] requests of one connection are all answered, though their caller sends no more', async () => {
  for (const count of [1, 63, 64, 65, 500]) {
    const answers = await sendWhole(`${healthHead}\r\n`.repeat(count));
    expect(answers.match(/HTTP\/1\.1 200/g)).toHaveLength(count);
  }
  await witness.expectUnharmed();
});

test.each(['/v1/watch?service=known', '/v1/instances?service=known&wait=5m&index='])(
  '[HT3] a caller that has sent no more before its turn came does not begin to wait: %s',
  async (start) => {
    const response = await fetch(`${witness.httpUrl}/v1/instances?service=known`);
    const { version } = (await response.json()) as { version: number };
    const path = start.endsWith('=') ? `${start}${version}` : start;
    for (const before of [0, 1, 10, 70]) {
      const answers = await sendWhole(`${healthHead}\r\n`.repeat(before) + word(path));
      // All that came before are answered; what waits leaves nobody behind.
      expect(answers.match(/HTTP\/1\.1 200/g) ?? []).toHaveLength(before);
      await witness.expectNothingLeft();
    }
    await witness.expectUnharmed();
  },
);
