import type { ServerConfig } from '../../config/config.ts';
import { sessionPath } from '../../protocol/limits.ts';
import type { Arrivals } from '../../runtime/arrivals.ts';
import type { Counters } from '../../runtime/counters.ts';
import type { DescriptorBudget } from '../../runtime/descriptors.ts';
import type { SessionCounts } from '../../runtime/session-counts.ts';
import type { SessionHost } from '../../sessions/session-host.ts';
import type { Session } from '../../sessions/session.ts';
import { headRefusals } from '../../transport/head-refusals.ts';
import { answerFailure } from '../../transport/http-answer.ts';
import type { CreateTransport, HttpAnswer, PlainRequest, Transport } from '../../transport/transport.ts';
import { Admission } from './admission.ts';

export interface HostTransportOptions {
  readonly create: CreateTransport;
  readonly config: ServerConfig;
  readonly host: SessionHost;
  readonly counters: Counters;
  readonly counts: SessionCounts;
  readonly arrivals: Arrivals;
  readonly descriptors: DescriptorBudget;
  /** Answers everything that is no handshake. */
  readonly onRequest: (request: PlainRequest) => Promise<HttpAnswer>;
}

/** The sockets of a session host, on whichever thread it lives. */
export function createHostTransport({
  create,
  config,
  host,
  counters,
  counts,
  arrivals,
  descriptors,
  onRequest,
}: HostTransportOptions): Transport {
  const admission = new Admission({
    config,
    counters,
    counts,
    arrivals,
    descriptors,
    isDraining: () => host.isDraining,
    readRequestsInFlight: () => host.requestsInFlight,
    random: Math.random,
    onOriginRefused: (origin, address) => {
      host.noteOriginRefused(origin, address);
    },
  });
  return create<Session>({
    frameBytesMax: config.frameBytesMax,
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
    refuseHead: (reason) => {
      const { status, failure } = headRefusals[reason];
      counters.countRefusal(failure.code, failure.limit);
      return answerFailure(failure, status);
    },
    onRequest: (request) =>
      request.path === sessionPath ? Promise.resolve(admission.refuseHandshake()) : onRequest(request),
  });
}
