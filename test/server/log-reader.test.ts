import { afterEach, expect, test } from 'vitest';

import { RunningCommand } from '../support/command.ts';
import { ioThreads } from '../support/io-threads.ts';

let running: RunningCommand | undefined;

afterEach(() => {
  running?.signal('SIGKILL');
});

test('[LI1] a reader of the log that stands still costs lines, which are counted, and nothing else', async () => {
  const config = { logBytesMax: 1024 };
  running = new RunningCommand(
    [
      'start',
      '--in-memory',
      '--port',
      '0',
      '--partitions',
      '1',
      '--io-threads',
      String(ioThreads),
      '--log-bytes-max',
      String(config.logBytesMax),
    ],
    {},
    { lifeMaxMs: 60_000 },
  );
  const [, url = ''] = await running.waitFor(/listens on \S+ and (http:\S+)/);
  running.process.stderr!.pause();
  const ask = async (path: string, init: RequestInit = {}): Promise<Response> => fetch(`${url}${path}`, init);
  const headers = { 'content-type': 'application/json' };
  const readDropped = async (): Promise<number> => {
    const { counters } = (await (await ask('/v1/stats')).json()) as { counters: Record<string, number> };
    return counters['log_dropped'] ?? 0;
  };
  // Each is a line; the pipe takes some 64 kB of them.
  for (let lines = 0; (await readDropped()) === 0; lines += 100) {
    expect(lines).toBeLessThan(10_000);
    for (let line = 0; line < 100; line++) {
      expect((await ask('/v1/sessions/goaway', { method: 'POST', headers, body: '{}' })).status).toBe(200);
    }
  }
  running.process.stderr!.resume();
  // Once it reads again, the first line that finds room says how many are missing.
  await expect
    .poll(async () => {
      await ask('/v1/sessions/goaway', { method: 'POST', headers, body: '{}' });
      return running!.err;
    })
    .toMatch(/"lines":\d+,"msg":"lines of the log were dropped/);
});
