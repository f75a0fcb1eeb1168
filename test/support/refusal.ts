import { deepEqual, equal } from 'node:assert/strict';

import { errorCodes } from '../../src/protocol/errors.ts';
import type { ErrorCode } from '../../src/protocol/errors.ts';
import type { RawClient } from './raw-client.ts';

/** A frame that must be refused, and how. */
export interface Refusal {
  readonly name: string;
  readonly frame: string;
  readonly code: ErrorCode;
  /** The id that comes back; by default 7, which {@link encodeRequest} gives. */
  readonly id?: unknown;
  readonly field?: string;
}

/** A request as text, so that it may hold what JSON.stringify would never write. */
export function encodeRequest(method: string, params: string, rest = ''): string {
  return `{"jsonrpc":"2.0","id":7,"method":"${method}","params":${params}${rest}}`;
}

/** So many lists within each other. */
export function nest(depth: number): string {
  return '['.repeat(depth) + ']'.repeat(depth);
}

interface ErrorAnswer {
  readonly jsonrpc: unknown;
  readonly id: unknown;
  readonly error: {
    readonly code: unknown;
    readonly message: unknown;
    readonly data: Readonly<Record<string, unknown>>;
  };
}

/** Sends the frame, checks the answer, and that the same connection goes on. */
export async function expectRefusal(client: RawClient, { frame, code, id = 7, field }: Refusal): Promise<void> {
  client.send(frame);
  const { error, ...envelope } = JSON.parse(await client.nextFrame()) as ErrorAnswer;
  deepEqual(envelope, { jsonrpc: '2.0', id });
  equal(typeof error.message, 'string');
  const expectedField = field ?? error.data.field;
  // Wrong params always say where.
  equal(typeof error.data.field, code === 'invalid_params' ? 'string' : 'undefined');
  deepEqual(
    { code: error.code, data: error.data },
    {
      code: errorCodes[code].number,
      data: expectedField === undefined ? { code } : { code, field: expectedField },
    },
  );
  const { instances } = await client.request('service.query', { service: 'nobody' });
  deepEqual(instances, []);
}
