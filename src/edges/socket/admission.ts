import { hostname } from 'node:os';

import { usesTls } from '../../config/config.ts';
import type { ServerConfig } from '../../config/config.ts';
import type { Failure } from '../../protocol/errors.ts';
import { sessionPath, subprotocol } from '../../protocol/limits.ts';
import type { AdmissionRate } from '../../runtime/admission-rate.ts';
import type { Counters, UpgradeRefusalReason } from '../../runtime/counters.ts';
import type { DescriptorBudget } from '../../runtime/descriptors.ts';
import type { SessionCounts } from '../../runtime/session-counts.ts';
import { refuseDraining } from '../../sessions/dispatch.ts';
import { answerFailure } from '../../transport/http-answer.ts';
import { OwnNames, readHostName } from '../../transport/own-names.ts';
import type { HttpAnswer, UpgradeCall, UpgradeVerdict } from '../../transport/transport.ts';

export interface AdmissionOptions {
  readonly config: Pick<
    ServerConfig,
    | 'host'
    | 'tlsCert'
    | 'allowedHosts'
    | 'allowedOrigins'
    | 'sessionsMax'
    | 'sessionsPerAddressMax'
    | 'descriptorsReserved'
    | 'sessionsPerSecondMax'
    | 'arrivalRequestsMax'
    | 'reconnectSpreadMs'
  >;
  readonly counters: Counters;
  /** Over all threads. */
  readonly counts: SessionCounts;
  readonly isDraining: () => boolean;
  /** Over all threads. */
  readonly descriptors: DescriptorBudget;
  /** Over all threads. */
  readonly admissionRate: AdmissionRate;
  /** Requests of this thread in flight to all partitions. */
  readonly readRequestsInFlight: () => number;
  /** 0 to 1. */
  readonly random: () => number;
  readonly onOriginRefused: (origin: string, address: string) => void;
  /** The port where HTTP is served, and with it the console; 0: nowhere. */
  readonly readHttpPort: () => number;
}

/** Decides on handshakes, which uWebSockets.js by itself would nearly all accept, and counts sessions by address. */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #ownNames: OwnNames;

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#ownNames = new OwnNames({ ...options.config, machine: hostname() });
  }

  judge(call: UpgradeCall): UpgradeVerdict {
    const refusal = this.#refusal(call);
    if (refusal === undefined) {
      const offered = call.protocols.split(',').map((protocol) => protocol.trim());
      return { accept: true, protocol: offered.includes(subprotocol) ? subprotocol : '' };
    }
    this.#options.counters.countUpgradeRefusal(refusal.reason, call.address);
    if (refusal.reason === 'origin') this.#options.onOriginRefused(call.origin, call.address);
    return { accept: false, answer: answerFailure(refusal.failure, refusal.status) };
  }

  /** A request for the session's path that uWebSockets.js did not take for a handshake. */
  refuseHandshake(): HttpAnswer {
    this.#options.counters.countUpgradeRefusal('handshake');
    return answerFailure(badHandshake);
  }

  enter(address: string): void {
    this.#options.counts.enter(address);
    this.#options.descriptors.take();
  }

  leave(address: string): void {
    this.#options.counts.leave(address);
    this.#options.descriptors.giveBack();
  }

  #refusal(call: UpgradeCall): { reason: UpgradeRefusalReason; failure: Failure; status?: number } | undefined {
    const { config, counts, descriptors, isDraining } = this.#options;
    if (call.path !== sessionPath) {
      return { reason: 'path', failure: { code: 'not_found', message: `sessions are opened at ${sessionPath}` } };
    }
    if (call.upgrade.toLowerCase() !== 'websocket' || call.version !== '13' || !isWebSocketKey(call.key)) {
      return { reason: 'handshake', failure: badHandshake };
    }
    if (!isOriginAllowed(config.allowedOrigins, call.origin) && !this.#isOwnPage(call)) {
      return { reason: 'origin', failure: { code: 'forbidden', message: 'pages of this Origin may not connect' } };
    }
    if (isDraining()) return { reason: 'draining', failure: refuseDraining(config.reconnectSpreadMs) };
    if (counts.total >= config.sessionsMax)
      return { reason: 'sessions', failure: refuseSession('sessionsMax', config.sessionsMax), status: 503 };
    if (counts.ofAddress(call.address) >= config.sessionsPerAddressMax) {
      return {
        reason: 'address',
        failure: refuseSession('sessionsPerAddressMax', config.sessionsPerAddressMax),
        status: 503,
      };
    }
    if (descriptors.isSpent) {
      const failure = refuseSession('descriptorsReserved', config.descriptorsReserved);
      return { reason: 'descriptors', failure, status: 503 };
    }
    return this.#refuseThrottled();
  }

  /** A page that this server itself has served on its port for HTTP: of the name by which it comes here, too, and that is a name of this server. */
  #isOwnPage({ origin, host }: UpgradeCall): boolean {
    const name = readHostName(host);
    if (name === undefined || !this.#ownNames.has(name)) return false;
    const port = this.#options.readHttpPort();
    if (port === 0) return false;
    const [scheme, schemePort] = usesTls(this.#options.config) ? ['https', 443] : ['http', 80];
    return origin.toLowerCase() === (port === schemePort ? `${scheme}://${name}` : `${scheme}://${name}:${port}`);
  }

  /** Those who come all at once, each with all that it holds, would keep the ones who are in from being served. */
  #refuseThrottled(): { reason: UpgradeRefusalReason; failure: Failure } | undefined {
    const { config, admissionRate, readRequestsInFlight, random } = this.#options;
    const isBusy = admissionRate.shareRequests(readRequestsInFlight()) > config.arrivalRequestsMax;
    if (!isBusy && admissionRate.admit()) return undefined;
    admissionRate.noteThrottled();
    const limit = isBusy ? 'arrivalRequestsMax' : 'sessionsPerSecondMax';
    return { reason: isBusy ? 'load' : 'rate', failure: refuseThrottled(limit, config[limit], random()) };
  }
}

/** Whether pages of this Origin may call. No Origin: not a browser. */
function isOriginAllowed(allowedOrigins: readonly string[], origin: string): boolean {
  return origin === '' || allowedOrigins.includes('*') || allowedOrigins.includes(origin);
}

const badHandshake: Failure = {
  code: 'invalid_request',
  message: `${sessionPath} takes a WebSocket handshake: GET, Upgrade: websocket, Sec-WebSocket-Version: 13, Sec-WebSocket-Key of 16 bytes`,
};

/** 16 bytes in base64: 22 characters and two of padding. */
function isWebSocketKey(key: string): boolean {
  return /^[A-Za-z0-9+/]{22}==$/.test(key);
}

/** When to come back, in milliseconds: spread, so that those who were refused together do not come together. */
const throttleRetryMinMs = 500;
const throttleRetryMaxMs = 3000;

function refuseThrottled(limit: string, max: number, random: number): Failure {
  return {
    code: 'busy',
    message: 'too many clients connect at once',
    limit,
    max,
    retryAfterMs: Math.round(throttleRetryMinMs + random * (throttleRetryMaxMs - throttleRetryMinMs)),
  };
}

function refuseSession(limit: string, max: number): Failure {
  return { code: 'limit_exceeded', message: `${limit} is ${max}`, limit, max, retryAfterMs: 1000 };
}
