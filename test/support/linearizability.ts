/** What was asked of one key. `holder`: who asked. */
export type KeyCall =
  | { readonly kind: 'get' }
  | {
      readonly kind: 'put';
      readonly value: string;
      readonly ifVersion?: number | undefined;
      readonly lock?: 'acquire' | 'release' | undefined;
      /** What becomes of the key when the session that acquires it ends. */
      readonly onEnd?: 'release' | 'delete';
    }
  | { readonly kind: 'delete'; readonly ifVersion?: number | undefined }
  /** The session has ended: at some time from now on what it holds is given up. It has no answer. */
  | { readonly kind: 'end' };

/** What a key was said to be; undefined: there was none. */
export type SeenKey = { readonly value: string; readonly version: number; readonly holder: string } | undefined;

export interface KeyEvent {
  readonly holder: string;
  readonly call: KeyCall;
  readonly calledAt: number;
  /** Infinity: it may have been carried out at any time since, or not at all. */
  readonly answeredAt: number;
  /** Undefined: its outcome is not known. */
  readonly answer:
    | { readonly kind: 'done'; readonly seen: SeenKey }
    | { readonly kind: 'unmet'; readonly reason: string }
    | undefined;
}

/** A key in the model. `version`: undefined: nobody has been told. */
interface State {
  readonly value: string;
  readonly version: number | undefined;
  readonly holder: string;
  readonly onEnd: 'release' | 'delete';
}

/**
 * Whether there is an order of what happened to one key that explains all answers, and in which everything takes effect between its call and its answer (linearizability; the search is
 * that of Wing and Gong, remembering what it has tried as Lowe does).
 */
export function isLinearizable(events: readonly KeyEvent[]): boolean {
  const sorted = events.toSorted((a, b) => a.calledAt - b.calledAt);
  const tried = new Set<string>();
  const search = (done: bigint, state: State | undefined): boolean => {
    let earliestAnswer = Infinity;
    let isOver = true;
    for (const [i, { answeredAt, answer }] of sorted.entries()) {
      if ((done >> BigInt(i)) & 1n) continue;
      earliestAnswer = Math.min(earliestAnswer, answeredAt);
      if (answer !== undefined) isOver = false;
    }
    if (isOver) return true;
    const key = `${done} ${state === undefined ? '' : `${state.value} ${state.version} ${state.holder} ${state.onEnd}`}`;
    if (tried.has(key)) return false;
    tried.add(key);
    for (const [i, event] of sorted.entries()) {
      if (event.calledAt > earliestAnswer) break;
      if ((done >> BigInt(i)) & 1n) continue;
      const next = step(state, event);
      if (next !== 'impossible' && search(done | (1n << BigInt(i)), next)) return true;
    }
    return false;
  };
  return search(0n, undefined);
}

function step(state: State | undefined, event: KeyEvent): State | undefined | 'impossible' {
  const { call, answer, holder } = event;
  switch (call.kind) {
    case 'get':
      return answer?.kind === 'done' ? learn(state, answer.seen) : state;
    case 'end':
      if (state?.holder !== holder) return state;
      return state.onEnd === 'delete' ? undefined : { ...state, holder: '', version: undefined };
    case 'delete': {
      if (state === undefined) return answer?.kind === 'unmet' ? 'impossible' : state;
      const verdict = judge(state, call.ifVersion, answer);
      return verdict === 'carried out' ? undefined : verdict === 'nothing' ? state : 'impossible';
    }
    case 'put':
      return stepPut(state, call, event);
    default:
      return call satisfies never;
  }
}

function stepPut(
  state: State | undefined,
  call: Extract<KeyCall, { kind: 'put' }>,
  { answer, holder }: KeyEvent,
): State | undefined | 'impossible' {
  const { lock, value, ifVersion, onEnd = 'release' } = call;
  const isFree = state === undefined || state.holder === '' || state.holder === holder;
  const isHeld = state !== undefined && state.holder === holder;
  if (answer?.kind === 'unmet') {
    switch (answer.reason) {
      case 'held':
        return isFree ? 'impossible' : state;
      case 'delayed':
        return state === undefined || state.holder === '' ? state : 'impossible';
      case 'not_held':
        return isHeld ? 'impossible' : state;
      default:
        return judge(state, ifVersion, answer) === 'nothing' ? state : 'impossible';
    }
  }
  if (lock === 'acquire' && !isFree) return answer === undefined ? state : 'impossible';
  if (lock === 'release' && !isHeld) return answer === undefined ? state : 'impossible';
  const verdict = judge(state, ifVersion, answer);
  if (verdict !== 'carried out') return verdict === 'nothing' ? state : 'impossible';
  const after: State = {
    value,
    version: undefined,
    holder: lock === 'acquire' ? holder : lock === 'release' ? '' : (state?.holder ?? ''),
    onEnd: lock === 'acquire' ? onEnd : (state?.onEnd ?? 'release'),
  };
  return answer?.kind === 'done' ? learn(after, answer.seen) : after;
}

/** What its condition, as far as the key's version is known, and its answer say of a change together. */
function judge(
  state: State | undefined,
  ifVersion: number | undefined,
  answer: KeyEvent['answer'],
): 'carried out' | 'nothing' | 'impossible' {
  const version = state === undefined ? 0 : state.version;
  const isUnknown = version === undefined && ifVersion !== undefined;
  const isMet = ifVersion === undefined || isUnknown || version === ifVersion;
  if (answer?.kind === 'unmet') return isMet && !isUnknown ? 'impossible' : 'nothing';
  if (isMet) return 'carried out';
  return answer === undefined ? 'nothing' : 'impossible';
}

function learn(state: State | undefined, seen: SeenKey): State | undefined | 'impossible' {
  if (state === undefined || seen === undefined)
    return state === undefined && seen === undefined ? state : 'impossible';
  if (state.value !== seen.value || state.holder !== seen.holder) return 'impossible';
  if (state.version !== undefined && state.version !== seen.version) return 'impossible';
  return { ...state, version: seen.version };
}
