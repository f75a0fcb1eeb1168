import type { Failure } from '../protocol/errors.ts';
import { sessionPath, subprotocol } from '../protocol/limits.ts';
import type { ServerConfig } from './config.ts';
import type { Counters, UpgradeRefusalReason } from './counters.ts';
import { answerFailure } from './http-answers.ts';
import type { SessionCounts } from './session-counts.ts';
import { refuseDraining } from './session-host.ts';
import type { HttpAnswer, UpgradeCall, UpgradeVerdict } from './transport.ts';

export interface AdmissionOptions {
  readonly config: Pick<ServerConfig, 'allowedOrigins' | 'sessionsMax' | 'sessionsPerAddressMax' | 'reconnectSpreadMs'>;
  readonly counters: Counters;
  /** Over all threads. */
  readonly counts: SessionCounts;
  readonly isDraining: () => boolean;
}

/** Decides on handshakes, which uWebSockets.js by itself would nearly all accept, and counts sessions by address. */
export class Admission {
  readonly #options: AdmissionOptions;

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  judge(call: UpgradeCall): UpgradeVerdict {
    const refusal = this.#refusal(call);
    if (refusal === undefined) {
      const offered = call.protocols.split(',').map((protocol) => protocol.trim());
      return { accept: true, protocol: offered.includes(subprotocol) ? subprotocol : '' };
    }
    this.#options.counters.countUpgradeRefusal(refusal.reason);
    return { accept: false, answer: answerFailure(refusal.failure, refusal.status) };
  }

  /** A request for the session's path that uWebSockets.js did not take for a handshake. */
  refuseHandshake(): HttpAnswer {
    this.#options.counters.countUpgradeRefusal('handshake');
    return answerFailure(badHandshake);
  }

  enter(address: string): void {
    this.#options.counts.enter(address);
  }

  leave(address: string): void {
    this.#options.counts.leave(address);
  }

  #refusal(call: UpgradeCall): { reason: UpgradeRefusalReason; failure: Failure; status?: number } | undefined {
    const { config, counts, isDraining } = this.#options;
    if (call.path !== sessionPath) {
      return { reason: 'path', failure: { code: 'not_found', message: `sessions are opened at ${sessionPath}` } };
    }
    if (call.upgrade.toLowerCase() !== 'websocket' || call.version !== '13' || !isWebSocketKey(call.key)) {
      return { reason: 'handshake', failure: badHandshake };
    }
    if (!isOriginAllowed(config.allowedOrigins, call.origin)) {
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
    return undefined;
  }
}

/** Whether pages of this Origin may call. No Origin: not a browser. */
export function isOriginAllowed(allowedOrigins: readonly string[], origin: string): boolean {
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

function refuseSession(limit: string, max: number): Failure {
  return { code: 'limit_exceeded', message: `${limit} is ${max}`, limit, max, retryAfterMs: 1000 };
}
