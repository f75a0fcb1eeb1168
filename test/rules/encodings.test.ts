import { expect, test } from 'vitest';

import type { Result } from '../../src/sessions/answers.ts';
import type { Encoding, KeyNotice } from '../../src/sessions/encoding.ts';
import { encodeChange, encodeResult } from '../../src/sessions/json-rpc.ts';
import type { Socket } from '../../src/transport/transport.ts';
import { InProcessRegistry } from '../support/in-process-registry.ts';
import { Random } from '../support/random.ts';

const random = new Random(1);

/** As text/event-stream has it. */
const events: Encoding = {
  encodeAnswer: (id, result) => `id: ${id}\nevent: ${result.kind}\ndata: ${encodeResult(result)}\n\n`,
  encodeRefusal: (id, { code }) => `id: ${id}\nevent: error\ndata: "${code}"\n\n`,
  joinBatch: (answers) => answers.join(''),
  encodeNotice: ({ kind }) => `event: ${kind}\n\n`,
  encodeKeyNews: ({ version }: KeyNotice) => `keys ${version}`,
  encodePush: (push) => `event: ${push.kind}\nid: ${push.to}\ndata: ${encodeChange(push)}\n\n`,
};

/** A subscriber that makes requests by calls, gets values for answers, and reads what it is told from a stream. */
function subscribe({ core }: InProcessRegistry): { readonly answers: Result[]; readonly stream: string[] } {
  const answers: Result[] = [];
  const stream: string[] = [];
  const socket: Socket = {
    address: '127.0.0.1',
    send: (frame) => {
      stream.push(Buffer.from(frame).toString());
      return 'sent';
    },
    cork: (sends) => {
      sends();
    },
    ping: () => true,
    end: () => undefined,
  };
  core.execute(
    core.connect(socket),
    { method: 'service.subscribe', params: { service: 'pay' } },
    { succeed: (result) => void answers.push(result), fail: (failure) => expect.unreachable(failure.message) },
  );
  return { answers, stream };
}

test('[PU3] a host with an encoding of its own answers with values, and encodes a push once in it for all who hear of it', async () => {
  const registry = await InProcessRegistry.start({}, 1, { encoding: events });
  const subscribers = Array.from({ length: 6 }, () => subscribe(registry));
  await registry.settle(random);
  for (const { answers } of subscribers) {
    expect(answers).toEqual([
      { kind: 'state', version: expect.any(Number) as number, count: 0, list: '"instances":[]', isWarming: false },
    ]);
  }
  const before = registry.core.framesEncoded;
  registry.core.execute(
    registry.core.sessions.grantLease(60_000, '127.0.0.1'),
    {
      method: 'instance.register',
      key: 'public/DEFAULT/pay',
      instance: { id: 'a', fragment: '{"id":"a","host":"h","port":1}', hasWeight: true },
    },
    { succeed: () => undefined, fail: (failure) => expect.unreachable(failure.message) },
  );
  await registry.settle(random);
  expect(registry.core.framesEncoded).toBe(before + 1);
  for (const { stream } of subscribers) {
    expect(stream).toEqual([
      expect.stringMatching(/^event: delta\nid: \d+\ndata: \{"namespace":"public".*"put":\[\{"id":"a",.*\}\n\n$/),
    ]);
  }
});
