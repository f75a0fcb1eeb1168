import http from 'node:http';
import https from 'node:https';
import { connect } from 'node:net';

import type { CheckDefinition } from '../protocol/types.ts';
import type { BodyMatcher } from './body-matcher.ts';
import type { Finding } from './check-core.ts';
import { Deadline } from './deadline.ts';

type HttpCheck = Extract<CheckDefinition, { readonly kind: 'http' | 'https' }>;

/** Where a probe goes: the address, and the name that it was found by. */
export interface ProbeRoute {
  readonly address: string;
  readonly host: string;
  readonly port: number;
  readonly timeoutMs: number;
}

/** Of the body, in bytes: what comes after is not read. */
const bodyBytesMax = 65_536;
/** Until the end of the first line of an answer, in bytes. */
const statusBytesMax = 1024;

/** Whether a connection can be made. */
export function probeTcp({ address, port, timeoutMs }: ProbeRoute): Promise<Finding> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port });
    const end = (finding: Finding): void => {
      deadline.cancel();
      socket.destroy();
      resolve(finding);
    };
    const deadline = new Deadline(timeoutMs, () => {
      end(tooLate(timeoutMs));
    });
    socket.once('connect', () => {
      end({ health: 'passing', output: 'connected' });
    });
    socket.on('error', (error) => {
      end(failed(error));
    });
  });
}

/** Whoever answers with a status that passes is well; with a body that is to be looked at, that must match, too. */
export function probeHttp(check: HttpCheck, route: ProbeRoute, matcher: BodyMatcher): Promise<Finding> {
  return check.kind === 'http' && check.body === undefined
    ? probeStatus(check, route)
    : probeAnswer(check, route, matcher);
}

/** Reads no further than the status, which is all that is asked for: a tenth of what a whole answer costs. */
function probeStatus(check: HttpCheck, route: ProbeRoute): Promise<Finding> {
  const { address, port, timeoutMs } = route;
  return new Promise((resolve) => {
    const socket = connect({ host: address, port });
    let head = '';
    const end = (finding: Finding): void => {
      deadline.cancel();
      socket.destroy();
      resolve(finding);
    };
    const deadline = new Deadline(timeoutMs, () => {
      end(tooLate(timeoutMs));
    });
    socket.on('connect', () => {
      socket.write(writeHead(check, route));
    });
    socket.on('data', (chunk: Buffer) => {
      head += chunk.toString('latin1', 0, statusBytesMax);
      const lineEnd = head.indexOf('\n');
      if (lineEnd === -1 && head.length < statusBytesMax) return;
      const [, status] = /^HTTP\/1\.[01] ([1-5]\d\d)(?: |\r?\n)/.exec(head) ?? [];
      end(status === undefined ? { health: 'critical', output: 'no HTTP/1.1' } : judgeStatus(check, Number(status)));
    });
    socket.on('error', (error) => {
      end(failed(error));
    });
    socket.on('end', () => {
      end({ health: 'critical', output: 'closed without an answer' });
    });
  });
}

function writeHead({ method = 'GET', path = '/', headers = {} }: HttpCheck, route: ProbeRoute): string {
  const lines = Object.entries(completeHeaders(headers, route)).map(([name, value]) => `${name}: ${value}\r\n`);
  const length = method === 'POST' ? 'Content-Length: 0\r\n' : '';
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}${length}\r\n`;
}

/** What says where a message ends is not the caller's to say. */
const reserved = new Set(['connection', 'content-length', 'transfer-encoding', 'upgrade', 'expect']);

function completeHeaders(
  headers: Readonly<Record<string, string>>,
  { host, port }: ProbeRoute,
): Record<string, string> {
  const own = Object.entries(headers).filter(([name]) => !reserved.has(name.toLowerCase()));
  const hasHost = own.some(([name]) => name.toLowerCase() === 'host');
  const name = host.includes(':') ? `[${host}]` : host;
  return {
    ...(hasHost ? {} : { Host: `${name}:${port}` }),
    'User-Agent': 'slotcast-check',
    Accept: '*/*',
    Connection: 'close',
    ...Object.fromEntries(own),
  };
}

function probeAnswer(check: HttpCheck, route: ProbeRoute, matcher: BodyMatcher): Promise<Finding> {
  const { address, host, port, timeoutMs } = route;
  const { method = 'GET', path = '/', headers = {} } = check;
  return new Promise((resolve) => {
    const isSecure = check.kind === 'https';
    const options = {
      host: address,
      port,
      method,
      path,
      headers: completeHeaders(headers, route),
      agent: false,
      // An address is no name to be shown a certificate for.
      ...(isSecure && !/^[\d.]+$|:/.test(host) ? { servername: host } : {}),
      ...(isSecure && check.anyCertificate === true ? { rejectUnauthorized: false } : {}),
    } as const;
    const request = (isSecure ? https : http).request(options);
    const end = (finding: Finding): void => {
      deadline.cancel();
      request.destroy();
      resolve(finding);
    };
    const deadline = new Deadline(timeoutMs, () => {
      end(tooLate(timeoutMs));
    });
    request.on('error', (error) => {
      end(failed(error));
    });
    request.on('response', (response) => {
      const status = response.statusCode ?? 0;
      const finding = judgeStatus(check, status);
      const { body } = check;
      if (finding.health !== 'passing' || body === undefined) {
        end(finding);
        return;
      }
      const chunks: Buffer[] = [];
      let bytes = 0;
      const look = (): void => {
        end(matcher.match(body, Buffer.concat(chunks).toString('utf8', 0, bodyBytesMax)));
      };
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        bytes += chunk.length;
        if (bytes >= bodyBytesMax) look();
      });
      response.on('end', look);
      response.on('error', (error) => {
        end(failed(error));
      });
    });
    request.end();
  });
}

/** 429 says that there is too much to do, which others should know and which is no reason to be left out. */
function judgeStatus({ status: wanted = '2xx' }: HttpCheck, status: number): Finding {
  const output = `HTTP ${status}`;
  const passes = wanted.split(',').some((one) => one === String(status) || one === `${Math.floor(status / 100)}xx`);
  return { health: passes ? 'passing' : status === 429 ? 'warning' : 'critical', output };
}

export function tooLate(timeoutMs: number): Finding {
  return { health: 'critical', output: `no answer within ${timeoutMs} ms` };
}

export function failed(error: Error): Finding {
  return { health: 'critical', output: 'code' in error ? String(error.code) : error.message.slice(0, 200) };
}
