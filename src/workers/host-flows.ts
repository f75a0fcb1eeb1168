import { fromPartition } from './messages.ts';
import type { Credit, Emit, PartitionLimits } from './messages.ts';

/** Characters that went to a host, and that it has done with. */
interface Flow {
  emitted: number;
  credited: number;
}

/** What a host is owed an account of for the answers that it got. */
interface AnswerFlow extends Flow {
  /** The part of `emitted` that has been reported to it. */
  told: number;
  /** It has no room, and something waits for that. */
  isFull: boolean;
  /** Texts of this turn: each crosses once. */
  readonly texts: Set<string>;
}

interface HostFlow {
  readonly pushes: Flow;
  readonly answers: AnswerFlow;
}

/** Answers are reported to a host once they reach a certain share of what may be in flight. */
const tellAnswersShare = 8;

/** Which hosts there are, and what is in flight to each: pushes and answers are bounded, each by itself. */
export class HostFlows {
  readonly #limits: PartitionLimits;
  readonly #emit: Emit;
  readonly #attached: Set<number> = new Set();
  /** Those of which not everything has been forgotten, though a new thread may be attached under their number. */
  readonly #leaving: Set<number> = new Set();
  readonly #flows: Map<number, HostFlow> = new Map();

  constructor(limits: PartitionLimits, emit: Emit) {
    this.#limits = limits;
    this.#emit = emit;
  }

  attach(host: number): void {
    this.#attached.add(host);
  }

  detach(host: number): void {
    this.#attached.delete(host);
    this.#leaving.add(host);
    this.#flows.delete(host);
  }

  noteLeft(host: number): void {
    this.#leaving.delete(host);
  }

  /** Nothing is pushed to a host that is not there: it would never give credit. A move may bring interest that a host had when it was. */
  readonly isThere = (host: number): boolean => this.#attached.has(host) && !this.#leaving.has(host);

  /** A host is done with pushes and answers. What an earlier life of this partition sent is credited to this one. */
  credit(host: number, credit: Credit): void {
    const { pushes, answers } = this.#obtain(host);
    pushes.credited = Math.min(pushes.emitted, pushes.credited + credit.pushes);
    answers.credited = Math.min(answers.emitted, answers.credited + credit.answers);
  }

  hasAnswerRoom(host: number): boolean {
    const flow = this.#flows.get(host)?.answers;
    if (flow === undefined) return true;
    const isFull = flow.emitted - flow.credited >= this.#limits.answerCharactersInFlightMax;
    if (isFull && !flow.isFull) this.#emit(host, fromPartition.bound, 'answerCharactersInFlightMax');
    flow.isFull = isFull;
    return !isFull;
  }

  noteAnswer(host: number, characters: number): void {
    this.#obtain(host).answers.emitted += characters;
  }

  /** Returns whether the text is another one than those that went to the host in this turn. */
  noteAnswerText(host: number, text: string): boolean {
    const { answers } = this.#obtain(host);
    if (answers.texts.has(text)) return false;
    answers.texts.add(text);
    answers.emitted += text.length;
    return true;
  }

  /** Returns how much has been pushed to the host in all. */
  notePush(host: number, characters: number): number {
    const { pushes } = this.#obtain(host);
    pushes.emitted += characters;
    return pushes.emitted;
  }

  /** Whether a host has credited less than was pushed to it by then. */
  isBehind(marks: Iterable<readonly [host: number, mark: number]>): boolean {
    for (const [host, mark] of marks) if ((this.#flows.get(host)?.pushes.credited ?? 0) < mark) return true;
    return false;
  }

  /** Whether as much is pushed to a host as may be in flight. */
  get isFull(): boolean {
    for (const { pushes } of this.#flows.values()) {
      if (pushes.emitted - pushes.credited >= this.#limits.pushCharactersInFlightMax) return true;
    }
    return false;
  }

  /** Hosts give credit for answers, in sums worth a message. */
  tellAnswers(): void {
    for (const [host, { answers }] of this.#flows) {
      answers.texts.clear();
      const untold = answers.emitted - answers.told;
      if (untold * tellAnswersShare < this.#limits.answerCharactersInFlightMax) continue;
      answers.told = answers.emitted;
      this.#emit(host, fromPartition.answered, untold);
    }
  }

  #obtain(host: number): HostFlow {
    let flow = this.#flows.get(host);
    if (flow === undefined) {
      flow = {
        pushes: { emitted: 0, credited: 0 },
        answers: { emitted: 0, credited: 0, told: 0, isFull: false, texts: new Set() },
      };
      this.#flows.set(host, flow);
    }
    return flow;
  }
}
