import type { Instance } from '../../src/protocol/types.ts';
import { buildTextFrame } from './frames.ts';

/** Instances are made this long as JSON: what a service with a handful of metadata has. */
export const instanceBytes = 220;

/**
 * An instance of exactly {@link instanceBytes}, with all fields, in the order in which the registry writes them: so the bare server,
 * which only echoes, sends the same bytes. `index` tells instances apart (below 2^21), `revision` the contents of one; all parts are equally
 * long whatever they are.
 */
export function buildInstance(index: number, revision: number): Instance {
  const octets = [14, 7, 0].map((shift) => 100 + ((index >> shift) & 127));
  const host = `10.${octets.join('.')}`;
  const port = 20_000 + (index % 40_000);
  const build = (note: string): Instance => ({
    id: `${host}:${port}`,
    host,
    port,
    weight: 100,
    enabled: true,
    metadata: {
      app: 'checkout',
      env: 'production',
      note,
      owner: 'payments',
      revision: String(10_000_000 + revision),
      version: '12.4.1',
    },
  });
  return build('-'.repeat(instanceBytes - JSON.stringify(build('')).length));
}

const idFirst = 100_000;
const ids = 900_000;

/** Every id has the same number of digits, so every frame for the same kind of request is equally long. */
export function requestId(index: number): number {
  return idFirst + (index % ids);
}

export function buildRegisterText(id: number, service: string, instance: Instance): string {
  return JSON.stringify({ jsonrpc: '2.0', id, method: 'instance.register', params: { service, instance } });
}

export function buildSubscribeFrame(id: number, service: string): Buffer {
  return buildTextFrame(JSON.stringify({ jsonrpc: '2.0', id, method: 'service.subscribe', params: { service } }));
}

const resultAt = `{"jsonrpc":"2.0","id":${idFirst},"`.length;
const resultByte = 'r'.charCodeAt(0);

/** Looks at the one byte that tells a result from an error; throws on an error, since then nothing measured would mean anything. */
export function checkResult(bytes: Buffer, start: number, end: number): void {
  if (bytes[start + resultAt] === resultByte) return;
  throw new Error(
    `the server did not answer with a result: ${bytes.toString('utf8', start, Math.min(end, start + 300))}`,
  );
}

const kindAt = '{"jsonrpc":"2.0","'.length;
const answerByte = 'i'.charCodeAt(0);

/** Answers carry an id, notifications a method. */
export function isAnswer(bytes: Buffer, start: number): boolean {
  return bytes[start + kindAt] === answerByte;
}
