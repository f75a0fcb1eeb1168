import type { Actor } from '../protocol/actor.ts';
import type { AuditAct } from '../protocol/audit-acts.ts';

/** What came of an act. `unknown`: it was under way when what carries it out failed. */
export type AuditOutcome = 'done' | 'unknown' | 'refused';

/** What is to be noted of one act. Never a value of a key, nor a secret. */
export interface AuditRecord {
  readonly actor: Actor;
  readonly what: AuditAct;
  /** What it was done to. */
  readonly target?: object | undefined;
  /** What was there, and what is there now. */
  readonly before?: object | undefined;
  readonly after?: object | undefined;
  readonly outcome: AuditOutcome;
}

/** Of what was there before, and is there now, so many characters as JSON; of what has more, only how many. */
const stateCharactersMax = 8192;
/** Of a target. */
const targetCharactersMax = 4096;

/** The fields of a line of the audit log, but for its place in the chain. One line of JSON without its braces. */
export function encodeRecord({ actor, what, target, before, after, outcome }: AuditRecord, atMs: number): string {
  const { request } = actor;
  let text = `"at":"${formatTime(atMs)}",${describeActor(actor)},"what":"${what}"`;
  if (target !== undefined) text += `,"target":${encodeBounded(target, targetCharactersMax)}`;
  if (before !== undefined) text += `,"before":${encodeBounded(before, stateCharactersMax)}`;
  if (after !== undefined) text += `,"after":${encodeBounded(after, stateCharactersMax)}`;
  text += `,"outcome":"${outcome}"`;
  return request === undefined ? text : `${text},"request":${JSON.stringify(request)}`;
}

/** Of sessions, which ask again and again. */
const described: WeakMap<Actor, string> = new WeakMap();

function describeActor(actor: Actor): string {
  let text = described.get(actor);
  if (text === undefined) {
    const { principal, address, session } = actor;
    const from = session === undefined ? { address } : { address, session };
    text = `"who":${JSON.stringify(principal)},"from":${JSON.stringify(from)}`;
    described.set(actor, text);
  }
  return text;
}

let lastMs = Number.NaN;
let lastTime = '';

/** Many acts fall into the same millisecond. */
function formatTime(atMs: number): string {
  if (atMs !== lastMs) {
    lastMs = atMs;
    lastTime = new Date(atMs).toISOString();
  }
  return lastTime;
}

function encodeBounded(value: object, charactersMax: number): string {
  const text = JSON.stringify(value);
  return text.length > charactersMax ? `{"leftOut":true,"characters":${text.length}}` : text;
}
