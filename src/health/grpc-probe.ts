import http2 from 'node:http2';

import type { CheckDefinition } from '../protocol/types.ts';
import type { Finding } from './check-core.ts';
import { Deadline } from './deadline.ts';
import { failed, tooLate } from './http-probe.ts';
import type { ProbeRoute } from './http-probe.ts';

type GrpcCheck = Extract<CheckDefinition, { readonly kind: 'grpc' }>;

/** Of an answer, in bytes: five of its frame and two of its message are all that is needed. */
const answerBytesMax = 1024;
const serving = 1;
const notServing: readonly string[] = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'];

/** `grpc.health.v1.Health/Check`: one small message each way, which needs nothing but HTTP/2. */
export function probeGrpc(
  { service = '' }: GrpcCheck,
  { address, host, port, timeoutMs }: ProbeRoute,
): Promise<Finding> {
  return new Promise((resolve) => {
    const session = http2.connect(`http://${nameAuthority(address, port)}`, { settings: { enablePush: false } });
    const end = (finding: Finding): void => {
      deadline.cancel();
      session.destroy();
      resolve(finding);
    };
    const deadline = new Deadline(timeoutMs, () => {
      end(tooLate(timeoutMs));
    });
    session.on('error', (error: Error) => {
      end(failed(error));
    });
    session.on('goaway', () => {
      end({ health: 'critical', output: 'the connection was refused' });
    });
    const stream = session.request({
      ':method': 'POST',
      ':path': '/grpc.health.v1.Health/Check',
      ':authority': nameAuthority(host, port),
      'content-type': 'application/grpc',
      te: 'trailers',
      'user-agent': 'slotcast-check',
    });
    const chunks: Buffer[] = [];
    let bytes = 0;
    let outcome: string | undefined;
    const noteStatus = (headers: http2.IncomingHttpHeaders): void => {
      const status = headers['grpc-status'];
      if (typeof status === 'string') outcome = status;
    };
    stream.on('response', noteStatus);
    stream.on('trailers', noteStatus);
    stream.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > answerBytesMax) end({ health: 'critical', output: 'the answer is too long' });
    });
    stream.on('error', (error: Error) => {
      end(failed(error));
    });
    stream.on('end', () => {
      // Trailers may come with the end.
      setImmediate(() => {
        end(judge(Buffer.concat(chunks), outcome));
      });
    });
    stream.end(encodeRequest(service));
  });
}

function nameAuthority(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** `service` is field 1 of the request, a text. */
function encodeRequest(service: string): Buffer {
  const name = Buffer.from(service, 'latin1');
  const length = name.length < 0x80 ? [name.length] : [(name.length & 0x7f) | 0x80, name.length >> 7];
  const message = name.length === 0 ? name : Buffer.concat([Buffer.from([0x0a, ...length]), name]);
  const frame = Buffer.alloc(5);
  frame.writeUInt32BE(message.length, 1);
  return Buffer.concat([frame, message]);
}

/** `status` is field 1 of the answer, a number below 128; left out it is 0. */
function judge(answer: Buffer, outcome: string | undefined): Finding {
  if (outcome !== undefined && outcome !== '0')
    return { health: 'critical', output: `gRPC status ${outcome.slice(0, 16)}` };
  if (answer.length < 5 || answer[0] !== 0) return { health: 'critical', output: 'no answer of grpc.health.v1' };
  const status = answer[5] === 0x08 ? (answer[6] ?? 0) : 0;
  return { health: status === serving ? 'passing' : 'critical', output: notServing[status] ?? `status ${status}` };
}
