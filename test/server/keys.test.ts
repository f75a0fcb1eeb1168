import { startServer } from 'slotcast';
import { expect, test } from 'vitest';

import { ioThreads } from '../support/io-threads.ts';

interface Answered {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

async function ask(url: string, method = 'GET', body?: string | Uint8Array<ArrayBuffer> | object): Promise<Answered> {
  const isRaw = body === undefined || typeof body === 'string' || body instanceof Uint8Array;
  const init = {
    method,
    body: isRaw ? (body ?? null) : JSON.stringify(body),
    headers: isRaw ? {} : { 'Content-Type': 'application/json' },
  };
  const response = await fetch(url, init);
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

test('[KV1] [KV4] [KV5] [KV6] over HTTP keys are put with their bytes, read, listed, held by leases and deleted', async () => {
  const server = await startServer({ port: 0, httpPort: 0, ioThreads, partitions: 2, logLevel: 'silent', warmUpMs: 0 });
  const base = `${server.address.httpUrl}/v1`;
  try {
    const bytes = new Uint8Array([0, 255, 10, 128]);
    const key = `${base}/keys/${encodeURIComponent('config/ä b')}`;
    const put = await ask(`${key}?flags=16210313421097356768`, 'PUT', bytes);
    expect(put).toMatchObject({ status: 200, body: { applied: true, entry: { flags: '16210313421097356768' } } });
    expect(await ask(`${base}/keys/config/%C3%A4%20b`)).toMatchObject({
      body: { entry: { key: 'config/ä b', value: Buffer.from(bytes).toString('base64') } },
    });
    expect(await ask(`${key}?cas=0`, 'PUT', 'x')).toMatchObject({
      status: 200,
      body: { applied: false, reason: 'version' },
    });
    expect(await ask(`${base}/keys/none`)).toMatchObject({ status: 200, body: { version: expect.any(Number) } });
    expect(await ask(`${base}/keys?prefix=config%2F&keysOnly=true`)).toMatchObject({ body: { keys: ['config/ä b'] } });
    expect(await ask(`${base}/keys/big`, 'PUT', new Uint8Array(524_289))).toMatchObject({
      status: 413,
      body: { error: { limit: 'keyValueBytesMax' } },
    });

    const { body: granted } = await ask(`${base}/leases`, 'POST', { ttlMs: 60_000 });
    const lease = String(granted['lease']);
    expect(await ask(`${base}/keys/lock?acquire=${lease}&lockDelayMs=0`, 'PUT', 'me')).toMatchObject({
      body: { applied: true, entry: { lockIndex: 1, fence: expect.any(Number) } },
    });
    const { body: other } = await ask(`${base}/leases`, 'POST', {});
    const second = `${base}/keys/lock?acquire=${String(other['lease'])}`;
    expect(await ask(second, 'PUT', 'you')).toMatchObject({ body: { applied: false, reason: 'held' } });
    expect(await ask(`${base}/keys/lock?acquire=unknown`, 'PUT', 'x')).toMatchObject({ status: 404 });
    await ask(`${base}/leases/${lease}`, 'DELETE');
    await expect
      .poll(() => ask(second, 'PUT', 'you'))
      .toMatchObject({ body: { applied: true, entry: { lockIndex: 2 } } });

    const operations = [
      { op: 'put', key: 'a', value: 'MQ==' },
      { op: 'put', key: 'b', value: 'Mg==' },
      { op: 'get', key: 'b' },
    ];
    expect(await ask(`${base}/transaction`, 'POST', { operations })).toMatchObject({
      body: { applied: true, entries: [{ key: 'a' }, { key: 'b' }, { value: 'Mg==' }] },
    });
    expect(await ask(`${base}/keys/a`, 'DELETE')).toMatchObject({ body: { applied: true } });
    expect(await ask(`${base}/keys?prefix=`, 'DELETE')).toMatchObject({ body: { applied: true, deleted: 3 } });
  } finally {
    await server.stop();
  }
});
