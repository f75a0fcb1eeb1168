import type { ServerConfig } from '../../config/config.ts';
import { anonymous } from '../../protocol/actor.ts';
import { sessionPath } from '../../protocol/limits.ts';
import type { AdmissionRate } from '../../runtime/admission-rate.ts';
import type { Counters } from '../../runtime/counters.ts';
import type { DescriptorBudget } from '../../runtime/descriptors.ts';
import type { HttpPort } from '../../runtime/http-port.ts';
import type { SessionCounts } from '../../runtime/session-counts.ts';
import type { SessionCore } from '../../sessions/session-core.ts';
import type { Session } from '../../sessions/session.ts';
import { headRefusals } from '../../transport/head-refusals.ts';
import { answerFailure } from '../../transport/http-answer.ts';
import type { TlsDoor } from '../../transport/tls-door.ts';
import type { CreateTransport, HttpAnswer, PlainRequest, Transport } from '../../transport/transport.ts';
import { Admission } from './admission.ts';

export interface HostTransportOptions {
  readonly create: CreateTransport;
  readonly config: ServerConfig;
  readonly core: SessionCore;
  readonly counters: Counters;
  readonly counts: SessionCounts;
  readonly admissionRate: AdmissionRate;
  readonly descriptors: DescriptorBudget;
  /** Undefined: connections are in the clear. */
  readonly tls: TlsDoor | undefined;
  /** See {@link HttpPort}. */
  readonly httpPort: HttpPort;
  /** Answers everything that is no handshake. */
  readonly onRequest: (request: PlainRequest) => Promise<HttpAnswer>;
}

/** The sockets of a session host, on whichever thread it lives. */
export function createHostTransport({
  create,
  config,
  core,
  counters,
  counts,
  admissionRate,
  descriptors,
  httpPort,
  tls,
  onRequest,
}: HostTransportOptions): Transport {
  const admission = new Admission({
    config,
    counters,
    counts,
    admissionRate,
    descriptors,
    isDraining: () => core.isDraining,
    readRequestsInFlight: () => core.requestsInFlight,
    random: Math.random,
    readHttpPort: () => httpPort.port,
    onOriginRefused: (origin, address) => {
      core.noteOriginRefused(origin, address);
      core.noteRefusal('forbidden', { actor: { principal: anonymous, address } }, 'connect');
    },
  });
  return create<Session>({
    frameBytesMax: config.frameBytesMax,
    backlogBytesMax: config.sessionBacklogBytesMax,
    heartbeatTimeoutMs: config.heartbeatTimeoutMs,
    tls,
    judgeUpgrade: (call) => admission.judge(call),
    onOpen: (socket, address, shown) => {
      admission.enter(address);
      return core.connect(socket, shown);
    },
    onText: (session, text) => {
      core.receive(session, text);
    },
    onAlive: (session) => {
      core.onActivity(session);
    },
    onPong: (session, payload) => {
      core.onPong(session, payload);
    },
    onDrain: (session) => {
      core.onDrain(session);
    },
    onClose: (session, isClean, address, reason) => {
      admission.leave(address);
      core.disconnected(session, isClean, reason);
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
