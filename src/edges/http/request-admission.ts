import type { IncomingMessage, ServerResponse } from 'node:http';

import type { ServerConfig, SettingName } from '../../config/config.ts';
import type { Failure } from '../../protocol/errors.ts';
import { isLoopbackAddress, normalizeAddress } from '../../transport/addresses.ts';
import { headRefusals } from '../../transport/head-refusals.ts';
import { CallerCheck } from './caller-check.ts';
import type { Caller, CallerCheckOptions } from './caller-check.ts';
import { findAmbiguity, findCoding, isAmbiguousPath, readTarget, refuseKeyPath } from './request-head.ts';

export interface RequestAdmissionOptions {
  readonly config: CallerCheckOptions['config'] &
    Pick<ServerConfig, 'bodyBytesMax' | 'httpBodyBytesInFlightMax' | 'httpHeadersMax' | 'httpRequestsMax'>;
  /** A page was refused. */
  readonly onOriginRefused: (origin: string, address: string) => void;
}

/** A refusal by the head of a request alone, with a status that is not its code's. */
export interface HeadRefusal {
  readonly status: number;
  readonly failure: Failure;
  readonly limit?: SettingName;
  /** Whether its connection ends with it, as where the next request begins cannot be relied on. */
  readonly isLast: boolean;
  /** What is said beside it. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Decides from a request's head whether it is carried out: its form, its caller, and whether there is room for it and its body. */
export class RequestAdmission {
  readonly #options: RequestAdmissionOptions;
  readonly #check: CallerCheck;
  /** Requests that expect what nobody does here. */
  readonly #strange: WeakSet<IncomingMessage> = new WeakSet();
  /** Requests that wait for something to happen. */
  readonly #waiting: WeakSet<IncomingMessage> = new WeakSet();
  #requests = 0;
  /** Of requests in flight: what their bodies have, or may have. */
  #bodyBytes = 0;

  constructor(options: RequestAdmissionOptions) {
    this.#options = options;
    this.#check = new CallerCheck({ config: options.config });
  }

  /** It expects something other than `100-continue`. */
  noteStrange(request: IncomingMessage): void {
    this.#strange.add(request);
  }

  /** It is in flight until it is answered. */
  noteRequest(request: IncomingMessage, response: ServerResponse): void {
    this.#requests += 1;
    response.once('close', () => {
      if (!this.#waiting.has(request)) this.#requests -= 1;
    });
  }

  /** It waits for something to happen, and counts no more; false: it did before. */
  startWaiting(request: IncomingMessage): boolean {
    if (this.#waiting.has(request)) return false;
    this.#waiting.add(request);
    this.#requests -= 1;
    return true;
  }

  stopWaiting(request: IncomingMessage, response: ServerResponse): void {
    if (!response.destroyed && this.#waiting.delete(request)) this.#requests += 1;
  }

  /** Why a request ends with its head, for which nobody need be known. */
  refuseHead(request: IncomingMessage): HeadRefusal | undefined {
    // Those that are left out may be the ones that count.
    if (request.rawHeaders.length / 2 > this.#options.config.httpHeadersMax) {
      return { ...headRefusals['too large'], limit: 'httpHeadersMax', isLast: true };
    }
    const ambiguity = findAmbiguity(request);
    if (ambiguity !== undefined) return refuseWith(400, ambiguity);
    if (this.#strange.has(request)) return refuseWith(417, 'the only expectation is 100-continue');
    const coding = findCoding(request);
    if (coding === undefined) return undefined;
    const message = `no body is read whose Content-Encoding is ${JSON.stringify(coding.slice(0, 64))}`;
    // RFC 9110, 15.5.16: that says it is not the media type that is wrong.
    return { ...refuseWith(415, message), isLast: false, headers: { 'Accept-Encoding': 'identity' } };
  }

  /** What is asked of every request, whatever it is for. Says on the response to whom the answer may be shown. */
  admit(request: IncomingMessage, response: ServerResponse): Failure | undefined {
    const { httpRequestsMax: max } = this.#options.config;
    const caller = readCaller(request);
    const refusal = this.#check.refuse(caller);
    if (refusal !== undefined) {
      if (caller.origin !== '' && refusal.code === 'forbidden') {
        this.#options.onOriginRefused(caller.origin, readAddress(request));
      }
      return refusal;
    }
    if (this.#check.isCrossOriginAllowed(caller.origin) && caller.origin !== '') {
      response.setHeader('Access-Control-Allow-Origin', caller.origin);
      response.setHeader('Access-Control-Expose-Headers', 'ETag, Retry-After');
    }
    // A cache must not give one page what is another's.
    response.setHeader('Vary', 'Origin');
    const { path } = readTarget(request);
    if (isAmbiguousPath(path)) return { code: 'not_found', message: 'there is no such path' };
    const keyRefusal = refuseKeyPath(path);
    if (keyRefusal !== undefined) return keyRefusal;
    if (this.#requests > max) return refuseBusy('httpRequestsMax', max);
    return this.#admitBody(request, response);
  }

  /** Why its caller may not use what is for operators. */
  refuseAdministration(request: IncomingMessage): Failure | undefined {
    return this.#check.refuseAdministration(readCaller(request));
  }

  /** Bodies that are being read take memory, however slowly they come. */
  #admitBody({ headers }: IncomingMessage, response: ServerResponse): Failure | undefined {
    const { bodyBytesMax, httpBodyBytesInFlightMax: max } = this.#options.config;
    const isChunked = headers['transfer-encoding'] !== undefined;
    const bytes = isChunked ? bodyBytesMax : Math.min(bodyBytesMax, Number(headers['content-length'] ?? 0));
    if (bytes === 0) return undefined;
    // One may be as large as it is.
    if (this.#bodyBytes > 0 && this.#bodyBytes + bytes > max) return refuseBusy('httpBodyBytesInFlightMax', max);
    this.#bodyBytes += bytes;
    response.once('close', () => {
      this.#bodyBytes -= bytes;
    });
    return undefined;
  }
}

/** Of the caller, or of the proxy through which it came. */
export function readAddress({ socket }: IncomingMessage): string {
  return normalizeAddress(socket.remoteAddress ?? '');
}

function readCaller(request: IncomingMessage): Caller {
  const { host, origin = '' } = request.headers;
  return { host, origin, isLocal: isLoopbackAddress(readAddress(request)) };
}

function refuseWith(status: number, message: string): HeadRefusal {
  return { status, failure: { code: 'invalid_request', message }, isLast: true };
}

function refuseBusy(limit: SettingName, max: number): Failure {
  return { code: 'busy', message: 'too many callers over HTTP at once', limit, max, retryAfterMs: 500 };
}
