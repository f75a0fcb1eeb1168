/** Where a subscription stands. */
export type SubscriptionPhase =
  /** It awaits its first answer; until then an older one to the same service continues. */
  | 'starting'
  /** It has begun, and its first answer waits for the rest of its batch: no push may come before that. */
  | 'answering'
  /** The same, and a push has passed it by. */
  | 'overtaken'
  /** It continues with what it knew before the registry started, and is sent nothing until its service is warm (PU5). */
  | 'warming'
  /** The same, and its first answer waits for the rest of its batch. */
  | 'warmingInBatch'
  /** It is sent each push as it comes. */
  | 'live'
  /** It has missed a push, and is sent nothing until it gets the latest state (PU4). */
  | 'stale'
  /** The same, and the latest state has been asked for. */
  | 'refreshing'
  /** Unsubscribed, refused, replaced, or its connection has gone. */
  | 'over';

export type SubscriptionEvent =
  /** It has its first answer: sent, or put into its batch; with a list, or with the order to continue with what it knows. */
  | 'began'
  | 'beganInBatch'
  | 'beganWarming'
  | 'beganWarmingInBatch'
  /** The batch of its first answer has been sent. */
  | 'batchSent'
  /** Its service is warm: it is about to be sent the list. */
  | 'warmed'
  /** A push was not sent to it: it must not have it yet, has not read enough, or does not hold what that follows on. */
  | 'missed'
  /** The latest state is asked for. */
  | 'asked'
  /** The latest state has been sent to it. */
  | 'refreshed'
  /** The latest state could not be fetched, or not be sent. */
  | 'failed'
  | 'left';

/** It cannot happen then. */
const never = undefined;

/** Every phase with every event; a missing cell does not compile. */
const transitions: {
  readonly [P in SubscriptionPhase]: { readonly [E in SubscriptionEvent]: SubscriptionPhase | undefined };
} = {
  starting: {
    began: 'live',
    beganInBatch: 'answering',
    beganWarming: 'warming',
    beganWarmingInBatch: 'warmingInBatch',
    batchSent: never,
    warmed: never,
    missed: never,
    asked: never,
    refreshed: never,
    failed: never,
    left: 'over',
  },
  answering: {
    ...begun(),
    batchSent: 'live',
    warmed: never,
    missed: 'overtaken',
    asked: never,
    refreshed: never,
    failed: never,
    left: 'over',
  },
  overtaken: {
    ...begun(),
    batchSent: 'stale',
    warmed: never,
    missed: 'overtaken',
    asked: never,
    refreshed: never,
    failed: never,
    left: 'over',
  },
  warming: {
    ...begun(),
    batchSent: never,
    warmed: 'live',
    // It gets the whole list in any case.
    missed: 'warming',
    asked: never,
    refreshed: never,
    failed: never,
    left: 'over',
  },
  warmingInBatch: {
    ...begun(),
    batchSent: 'warming',
    warmed: 'answering',
    missed: 'warmingInBatch',
    asked: never,
    refreshed: never,
    failed: never,
    left: 'over',
  },
  live: {
    ...begun(),
    batchSent: never,
    warmed: never,
    missed: 'stale',
    asked: never,
    refreshed: never,
    failed: never,
    left: 'over',
  },
  stale: {
    ...begun(),
    batchSent: never,
    warmed: never,
    missed: 'stale',
    asked: 'refreshing',
    refreshed: never,
    failed: never,
    left: 'over',
  },
  refreshing: {
    ...begun(),
    batchSent: never,
    warmed: never,
    missed: 'refreshing',
    asked: never,
    refreshed: 'live',
    failed: 'stale',
    left: 'over',
  },
  // Its requests in flight are still completed.
  over: {
    began: 'over',
    beganInBatch: 'over',
    beganWarming: 'over',
    beganWarmingInBatch: 'over',
    batchSent: 'over',
    warmed: 'over',
    missed: 'over',
    asked: 'over',
    refreshed: 'over',
    failed: 'over',
    left: 'over',
  },
};

/** A subscription begins once. */
function begun(): Record<'began' | 'beganInBatch' | 'beganWarming' | 'beganWarmingInBatch', undefined> {
  return { began: never, beganInBatch: never, beganWarming: never, beganWarmingInBatch: never };
}

/** The phase that follows. What cannot happen is a bug, and throws. */
export function nextPhase(phase: SubscriptionPhase, event: SubscriptionEvent): SubscriptionPhase {
  const next = transitions[phase][event];
  if (next === undefined) throw new Error(`a subscription that is ${phase} cannot be ${event}`);
  return next;
}
