import { sessionPath } from '../protocol/limits.ts';
import { Admission } from './admission.ts';
import type { Arrivals } from './arrivals.ts';
import type { ServerConfig } from './config.ts';
import type { Counters } from './counters.ts';
import type { SessionCounts } from './session-counts.ts';
import type { SessionHost } from './session-host.ts';
import { Transport } from './transport.ts';
import type { HttpAnswer, HttpCall } from './transport.ts';

export interface HostTransportOptions {
  readonly config: ServerConfig;
  readonly host: SessionHost;
  readonly counters: Counters;
  readonly counts: SessionCounts;
  readonly arrivals: Arrivals;
  /** Answers everything over HTTP that is no handshake. */
  readonly onHttp: (call: HttpCall) => Promise<HttpAnswer>;
}

/** The sockets of a session host, on whichever thread it lives. */
export function createHostTransport({
  config,
  host,
  counters,
  counts,
  arrivals,
  onHttp,
}: HostTransportOptions): Transport {
  const admission = new Admission({
    config,
    counters,
    counts,
    arrivals,
    isDraining: () => host.isDraining,
    readRequestsInFlight: () => host.requestsInFlight,
    random: Math.random,
    onOriginRefused: (origin, address) => {
      host.noteOriginRefused(origin, address);
    },
  });
  return new Transport({
    frameBytesMax: config.frameBytesMax,
    bodyBytesMax: config.bodyBytesMax,
    backlogBytesMax: config.sessionBacklogBytesMax,
    heartbeatTimeoutMs: config.heartbeatTimeoutMs,
    judgeUpgrade: (call) => admission.judge(call),
    onOpen: (socket, address) => {
      admission.enter(address);
      return host.connect(socket);
    },
    onText: (session, text) => {
      host.receive(session, text);
    },
    onAlive: (session) => {
      host.hear(session);
    },
    onPong: (session, payload) => {
      host.ponged(session, payload);
    },
    onDrain: (session) => {
      host.drained(session);
    },
    onClose: (session, isClean, address, reason) => {
      admission.leave(address);
      host.disconnected(session, isClean, reason);
    },
    countClose: (reason) => {
      counters.countClose(reason);
    },
    onHttp: (call) => (call.path === sessionPath ? Promise.resolve(admission.refuseHandshake()) : onHttp(call)),
  });
}
