import type { Failure } from '../protocol/errors.ts';
import type { MethodName, RequestId } from '../protocol/types.ts';
import type { ReadTicket, Reply, Result } from './answers.ts';
import type { BatchAnswers } from './batch-answers.ts';
import type { CallLane, ReadKind } from './call-lane.ts';
import type { Encoding } from './encoding.ts';
import type { HostMeter } from './host-meter.ts';
import type { Session } from './session.ts';

/** What a reply needs of the host of its session. */
export interface ReplyHost {
  /** Sends a frame at the end of this turn. */
  send(session: Session, frame: string): void;
  /** `method`: undefined: it is no request of the protocol. */
  countRefusal(failure: Failure, session: Session, method: string | undefined): void;
  readonly meter: HostMeter;
  readonly encoding: Encoding;
  laneOf(session: Session): CallLane;
  /** The refusal as it is sent: the time to come back is randomized. */
  spread(failure: Failure): Failure;
}

/** Its batch has no room for the answer: to a request that was carried out, or to one whose answer was not even fetched. */
function refuseForRoom(max: number, isDone: boolean): Failure {
  const rest = 'the answers of the batch are too large together';
  const message = isDone ? `it was done, but ${rest}; ask in smaller batches` : `nothing was done: ${rest}`;
  return { code: 'limit_exceeded', message, limit: 'batchAnswerCharactersMax', max };
}

/** What an answer has in addition to its list, in characters: its id among them. */
const envelopeCharacters = 512;

/** Where the answer to a session's request goes: into a frame of its own, or into its batch's. Without an id, nowhere. */
export class SessionReply implements Reply {
  readonly #host: ReplyHost;
  readonly #session: Session;
  readonly #id: RequestId | undefined;
  readonly #batch: BatchAnswers | undefined;
  readonly #place: number;
  /** Undefined: it is no request of the protocol, and is not timed. */
  readonly #method: MethodName | undefined;
  readonly #sinceMs: number;

  constructor(
    host: ReplyHost,
    session: Session,
    id: RequestId | undefined,
    batch: BatchAnswers | undefined,
    method: MethodName | undefined,
  ) {
    this.#method = method;
    this.#sinceMs = method === undefined ? 0 : host.meter.noteRequest();
    session.requestsInFlight += 1;
    this.#host = host;
    this.#session = session;
    this.#id = id;
    this.#batch = batch;
    this.#place = batch === undefined || id === undefined ? -1 : batch.reserve();
  }

  succeed(result: Result): void {
    this.#end();
    if (this.#id === undefined) return;
    const answer = this.#host.encoding.encodeAnswer(this.#id, result);
    if (this.#batch === undefined || this.#batch.hasRoom(answer.length)) this.#send(answer);
    else this.#refuse(this.#id, refuseForRoom(this.#batch.charactersMax, true));
  }

  defer(task: () => void): boolean {
    if (this.#batch?.isWaiting !== true) return false;
    this.#batch.defer(task);
    return true;
  }

  openRead(kind: ReadKind, key: string): ReadTicket {
    const lane = this.#host.laneOf(this.#session);
    const batch = this.#batch;
    lane.begin(kind, key);
    let room = lane.smallCharacters;
    let isLarge = false;
    const judge = (characters: number): Failure | undefined =>
      batch === undefined || batch.hasRoom(characters + envelopeCharacters)
        ? undefined
        : refuseForRoom(batch.charactersMax, false);
    return {
      get room(): number {
        return room;
      },
      get refusal(): Failure | undefined {
        return judge(0);
      },
      enlarge: (characters, again, refuse) => {
        if (isLarge) lane.endLarge();
        isLarge = false;
        lane.waitForRoom({
          characters: characters + envelopeCharacters,
          judge: () => judge(characters),
          grant: () => {
            isLarge = true;
            room = characters;
            again();
          },
          refuse,
        });
      },
      end: () => {
        lane.end(kind, key, isLarge);
      },
    };
  }

  fail(failure: Failure): void {
    this.#end();
    if (this.#id === undefined) this.#host.countRefusal(failure, this.#session, this.#method);
    else this.#refuse(this.#id, failure);
  }

  #end(): void {
    this.#session.requestsInFlight -= 1;
    if (this.#method !== undefined) this.#host.meter.noteAnswer(this.#method, this.#sinceMs);
  }

  #refuse(id: RequestId, failure: Failure): void {
    this.#host.countRefusal(failure, this.#session, this.#method);
    this.#send(this.#host.encoding.encodeRefusal(id, this.#host.spread(failure)));
  }

  #send(answer: string): void {
    if (this.#batch === undefined) this.#host.send(this.#session, answer);
    else this.#batch.fill(this.#place, answer);
  }
}
