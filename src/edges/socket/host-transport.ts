import type { ServerConfig } from '../../config/config.ts';
import type { Failure } from '../../protocol/errors.ts';
import { sessionPath } from '../../protocol/limits.ts';
import type { Arrivals } from '../../runtime/arrivals.ts';
import type { Counters } from '../../runtime/counters.ts';
import type { DescriptorBudget } from '../../runtime/descriptors.ts';
import type { SessionCounts } from '../../runtime/session-counts.ts';
import type { SessionHost } from '../../sessions/session-host.ts';
import type { Session } from '../../sessions/session.ts';
import { answerFailure, refuseUnreadAnswer } from '../../transport/http-answer.ts';
import type { CreateTransport, HeadFailure, HttpAnswer, HttpCall, Transport } from '../../transport/transport.ts';
import { UnreadAnswers } from '../../transport/unread-answers.ts';
import { Admission } from './admission.ts';
import { PacedReads } from './paced-reads.ts';

export interface HostTransportOptions {
  readonly create: CreateTransport;
  readonly config: ServerConfig;
  readonly host: SessionHost;
  readonly counters: Counters;
  readonly counts: SessionCounts;
  readonly arrivals: Arrivals;
  readonly descriptors: DescriptorBudget;
  /** Answers everything over HTTP that is no handshake. */
  readonly onHttp: (call: HttpCall) => Promise<HttpAnswer>;
}

/** The sockets of a session host, on whichever thread it lives, and the answers over HTTP that nobody has read. */
export interface HostTransport {
  readonly transport: Transport;
  /** Moves time on. */
  readonly tick: (nowMs: number) => void;
}

export function createHostTransport({
  create,
  config,
  host,
  counters,
  counts,
  arrivals,
  descriptors,
  onHttp,
}: HostTransportOptions): HostTransport {
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
  const { httpAnswerBytesMax, httpAnswerTimeoutMs, slowConsumerTimeoutMs } = config;
  const unread = new UnreadAnswers({
    bytesMax: httpAnswerBytesMax,
    stallTimeoutMs: slowConsumerTimeoutMs,
    timeoutMs: httpAnswerTimeoutMs,
    onCut: (address) => {
      counters.count('http_answer_cut', address);
    },
  });
  const reads = new PacedReads(httpAnswerBytesMax);
  const refuseUnread = (address: string): HttpAnswer => {
    const failure = refuseUnreadAnswer(httpAnswerBytesMax);
    counters.countRefusal(failure.code, failure.limit, address);
    return answerFailure(host.spread(failure));
  };
  const answerHttp = (call: HttpCall): Promise<HttpAnswer> => {
    if (call.path === sessionPath) return Promise.resolve(admission.refuseHandshake());
    if (call.method !== 'GET' || !listPaths.has(call.path)) return onHttp(call);
    // What reads lists is not even asked when there is no room for them.
    return reads.run(() => {
      const { room } = unread;
      return room > 0 ? onHttp({ ...call, room }) : Promise.resolve(refuseUnread(call.address));
    });
  };
  const transport = create<Session>({
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
    unread,
    refuseUnread,
    refuseHead: (reason) => {
      const { status, failure } = headRefusals[reason];
      counters.countRefusal(failure.code, failure.limit);
      return answerFailure(failure, status);
    },
    onHttp: answerHttp,
  });
  return {
    transport,
    tick: (nowMs) => {
      unread.tick(nowMs);
    },
  };
}

/** Where answers may be large. */
const listPaths: ReadonlySet<string> = new Set(['/v1/instances', '/v1/services']);

const headRefusals: Readonly<Record<HeadFailure, { readonly status: number; readonly failure: Failure }>> = {
  malformed: { status: 400, failure: { code: 'invalid_request', message: 'this is no HTTP request' } },
  'unknown method': { status: 405, failure: { code: 'unknown_method', message: 'there is no such method' } },
  'too large': { status: 431, failure: { code: 'invalid_request', message: 'the head of the request is too large' } },
  'too slow': { status: 408, failure: { code: 'invalid_request', message: 'the request took too long to come' } },
};
